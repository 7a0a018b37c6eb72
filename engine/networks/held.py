"""What a network begins from at one place, and what of several modules here is one place of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from engine.networks.signs import JOINED, LOHA, NATIVE, kind_of_layer, sizes_of_layer

_ROWS = ("lora_up.weight", "hada_w1_a", "hada_w2_a", "diff", "diff_b", "b1.weight", "dora_scale")
"""What has a row for every output, so that it can be reordered with them."""


class Apart(RuntimeError):
    """Modules that are separate in a file cannot be one with the same effect."""


class Otherwise(RuntimeError):
    """A file was trained with an option that the network does not have, whatever its sizes."""


@dataclass(frozen=True)
class Held:
    """One module's tensors of a file, float32, by how kohya's files end their names, with rows in the file's order.

    rank: 0 of kinds without one.  alpha: as the file says it; of kinds with a rank, strength times rank.
    """

    tensors: Mapping[str, Tensor]
    rank: int
    alpha: float

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {end: tuple(tensor.shape) for end, tensor in self.tensors.items()}

    @property
    def kind(self) -> str:
        return kind_of_layer(self.shapes)

    def as_in(self, shapes: Mapping[str, tuple[int, ...]]) -> Held:
        """With tensors that are flat, or have sides of 1 more or less, in these shapes; others as they are."""
        return replace(
            self,
            tensors={
                end: tensor.reshape(shape)
                if (shape := shapes.get(end)) is not None and _is_alike(tensor, shape)
                else tensor
                for end, tensor in self.tensors.items()
            },
        )

    def scaled(self, by: float, ends: Sequence[str]) -> dict[str, Tensor]:
        """The tensors, those of these ends times a number."""
        return {end: tensor * by if end in ends else tensor for end, tensor in self.tensors.items()}


def _is_alike(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    return tensor.numel() == prod(shape) and tuple(tensor.shape[:1]) == shape[:1]


def turned(held: Held) -> Held:
    """With the two halves of the outputs swapped.  Raises Apart for kinds that mix outputs."""
    if held.kind not in JOINED:
        raise Apart(f"the rows of a {held.kind} cannot be reordered")
    return replace(
        held,
        tensors={
            end: torch.cat(tensor.chunk(2)[::-1]) if end in _ROWS else tensor for end, tensor in held.tensors.items()
        },
    )


def joined(parts: Mapping[int, Held], rows: Sequence[int]) -> Held:
    """One from those of several modules whose rows are stacked in the network, with the same effect.

    parts: by number; modules that are missing change nothing.  rows: of every module.  Raises Apart where there is
    none, RuntimeError if a module has other rows.
    """
    first, kinds = next(iter(parts.values())), {part.kind for part in parts.values()}
    magnitudes = [part.tensors["dora_scale"] for _, part in sorted(parts.items()) if "dora_scale" in part.tensors]
    if len(kinds) > 1 or first.kind not in JOINED or ("dora_scale" in first.tensors and len(magnitudes) < len(rows)):
        raise Apart(f"several modules with a {first.kind} each are not one")
    if any(len(magnitude) == 1 for magnitude in magnitudes):
        raise Apart("several modules with DoRA's magnitudes of their inputs are not one")
    for number, part in parts.items():
        if sizes_of_layer(part.shapes).rows != rows[number]:
            raise RuntimeError(f"a module has {sizes_of_layer(part.shapes).rows} rows, not {rows[number]}")
    if first.kind == NATIVE:
        ends = {end for part in parts.values() for end in part.tensors}
        one = Held({end: _stacked(parts, rows, end) for end in ends}, 0, 0.0)
    elif first.kind == LOHA:
        one = _products(parts, rows, (("hada_w1_b", "hada_w1_a"), ("hada_w2_b", "hada_w2_a")), strong="hada_w2_a")
    else:
        one = _products(parts, rows, (("lora_down.weight", "lora_up.weight"),), strong="lora_up.weight")
    return replace(one, tensors={**one.tensors, "dora_scale": torch.cat(magnitudes)}) if magnitudes else one


def _stacked(parts: Mapping[int, Held], rows: Sequence[int], end: str) -> Tensor:
    """Of tensors with a row for each output; modules without one change nothing."""
    like = next(part.tensors[end] for part in parts.values() if end in part.tensors)
    return torch.cat(
        [
            parts[number].tensors[end] if number in parts and end in parts[number].tensors
            else like.new_zeros(count, *like.shape[1:])
            for number, count in enumerate(rows)
        ]
    )  # fmt: skip


def _products(parts: Mapping[int, Held], rows: Sequence[int], pairs: Sequence[tuple[str, str]], strong: str) -> Held:
    """Of pairs whose product has a row for each output.

    If the modules' downs are equal, the joint pair uses that; otherwise the downs are stacked and the ups form a block
    diagonal: the rank is the sum.  strong: the up that takes the differences in strength.
    """
    ordered = [parts[number] for number in sorted(parts)]
    first = ordered[0]
    same = all(_is_same(part.tensors[down], first.tensors[down]) for part in ordered for down, _ in pairs)
    rank = first.rank if same else sum(part.rank for part in ordered)
    alpha = first.alpha if same else float(rank)
    tensors: dict[str, Tensor] = {}
    for down, up in pairs:
        downs = [part.tensors[down].flatten(1) for part in ordered]
        tensors[down] = downs[0] if same else torch.cat(downs)
        ups, begin = [], 0
        for number, count in enumerate(rows):
            whole = tensors[down].new_zeros(count, rank)
            if number in parts:
                part = parts[number]
                strength = part.alpha / part.rank / (alpha / rank) if up == strong else 1.0
                whole[:, begin : begin + part.rank] = part.tensors[up].flatten(1) * strength
                begin += 0 if same else part.rank
            ups.append(whole)
        tensors[up] = torch.cat(ups)
    return Held(tensors, rank, alpha)


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Also of tensors without numbers, of which one may stand for several."""
    return one is other or (not one.is_meta and one.shape == other.shape and torch.equal(one, other))
