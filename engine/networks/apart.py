"""Pairs of matrices for each module of those that are one matrix in kohya's files: sd-scripts' split_qkv.

In the file their downs are stacked and their ups form a block diagonal, as sd-scripts writes them.  Its alpha stays as
it is, though, so that every reader divides it by several times the rank; here it grows with the rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from engine.models.targets import Attachment, Target
from engine.networks.held import Held


class Part(NamedTuple):
    """name: of its pair.  of: the attachment's."""

    name: str
    of: str


def parts_of(targets: Iterable[Target]) -> Iterator[Part]:
    """In the order of the rows in the file."""
    for target in targets:
        for attachment in target.attachments:
            if len(attachment.paths) > 1:
                yield from (Part(_name(attachment, number), attachment.name) for number in range(len(attachment.paths)))


def taken_apart(target: Target) -> Target:
    """With an attachment for each module."""
    attachments = [
        replace(attachment, name=_name(attachment, number), paths=(path,)) if len(attachment.paths) > 1 else attachment
        for attachment in target.attachments
        for number, path in enumerate(attachment.paths)
    ]
    return replace(target, attachments=tuple(attachments))


def together(weights: Mapping[str, Tensor], places: Mapping[str, str]) -> dict[str, Tensor]:
    """As in the file.  places: by a part's name, its attachment's."""
    ends = ("lora_down.weight", "lora_up.weight", "alpha")
    of_parts = {f"{name}.{end}" for name in places for end in ends}
    whole = {name: tensor for name, tensor in weights.items() if name not in of_parts}
    for attachment, names in _by_attachment(places).items():
        downs, ups, alphas = ([weights[f"{name}.{end}"] for name in names] for end in ends)
        whole[f"{attachment}.lora_down.weight"] = torch.cat(downs)
        whole[f"{attachment}.lora_up.weight"] = torch.block_diag(*ups)
        whole[f"{attachment}.alpha"] = alphas[0] * len(names)
    return whole


def in_parts(
    held: Mapping[str, Held], places: Mapping[str, str], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, Held]:
    """What a file has, for parts.  sizes: rows and rank of each part.

    A down of a part's rank is one that all share, and goes to each; one of all parts' ranks is theirs, stacked, if its
    up is a block diagonal.  By the numbers alone an up of zeros would be both.  Raises RuntimeError where the file has
    other rows.
    """
    attachments = _by_attachment(places)
    found = {name: one for name, one in held.items() if name not in attachments}
    for attachment, names in attachments.items():
        if whole := held.get(attachment):
            rows = [sizes[name][0] for name in names]
            if (count := len(whole.tensors["lora_up.weight"])) != sum(rows):
                raise RuntimeError(f"{attachment} has {count} rows, not {sum(rows)}")
            is_stacked = whole.rank == sum(sizes[name][1] for name in names)
            found |= dict(zip(names, _parts(whole, rows, is_stacked), strict=True))
    return found


def _parts(whole: Held, sizes: list[int], is_stacked: bool) -> list[Held]:
    """sizes: rows of each."""
    down, up = (whole.tensors[f"lora_{side}.weight"].flatten(1) for side in ("down", "up"))
    count = len(sizes)
    blocks = [rows.chunk(count, 1) for rows in up.split(sizes)] if is_stacked else []
    if blocks and not any(block.any() for i, row in enumerate(blocks) for j, block in enumerate(row) if i != j):
        pairs = [(down.chunk(count)[number], blocks[number][number]) for number in range(count)]
        alpha = whole.alpha / count
    else:
        pairs, alpha = [(down, rows) for rows in up.split(sizes)], whole.alpha
    return [Held({"lora_down.weight": one, "lora_up.weight": other}, len(one), alpha) for one, other in pairs]


def _by_attachment(places: Mapping[str, str]) -> dict[str, list[str]]:
    """The names of its parts, in order."""
    found: dict[str, list[str]] = {}
    for name, attachment in places.items():
        found.setdefault(attachment, []).append(name)
    return found


def _name(attachment: Attachment, number: int) -> str:
    return f"{attachment.name}.{number}"
