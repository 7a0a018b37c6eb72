"""The matrices of a file that a network continues from, mapped to the network's modules.

Nothing in the file is lost: what has no place is listed, and matrices that are separate in the file but one pair in the
network are combined exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.models.single_file import Weights
from engine.models.targets import Attachment, Target
from engine.networks.dialects import NetworkFile, Place, dialect_of, flattened, place_named
from engine.reading import parse_json, small_json

LARGEST_CONFIG = 1_000_000
"""Bytes of an adapter_config.json; usual ones have a thousand."""


class Matrices(NamedTuple):
    """One module's matrices: down (rank, in) and up (out, rank), with up's rows in the file's order.  alpha: strength
    times rank."""

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return len(self.down)


def usual(pairs: Iterable[tuple[int, float]]) -> tuple[int, float] | None:
    """The rank and alpha that most modules have; None if there are none."""
    counted = Counter(pairs).most_common(1)
    return counted[0][0] if counted else None


def strengths_told(file: Path, metadata: Mapping[str, str]) -> dict[str, float]:
    """The alphas that peft's and diffusers' files store outside their tensors, by part, "" for all, as shares of √rank
    if negative.

    diffusers stores them in the metadata, under lora_adapter_metadata; peft in adapter_config.json next to the file.
    """
    told: dict[str, Any] = {}
    beside = file.with_name("adapter_config.json")
    try:
        if "lora_adapter_metadata" in metadata:
            told = parse_json(metadata["lora_adapter_metadata"].encode())
        elif file.stem == "adapter_model" and beside.is_file():
            told = small_json(beside, LARGEST_CONFIG)
    except (OSError, ValueError):
        return {}
    parts = {"transformer": "unet", "unet": "unet", "text_encoder": "te1", "text_encoder_2": "te2", "": ""}
    found: dict[str, float] = {}
    for name, alpha in told.items() if isinstance(told, dict) else ():
        component, _, key = name.rpartition(".")
        if key == "lora_alpha" and component in parts and isinstance(alpha, (int, float)) and alpha > 0:
            by_root = told.get(f"{component}.use_rslora".strip("."), False)
            found[parts[component]] = -float(alpha) if by_root else float(alpha)
    return found


def unplaced(file: NetworkFile, targets: Iterable[Target]) -> list[Place]:
    """Modules of the file that have no place in a network on these targets."""
    places = _places(targets)
    return [place for place in file.modules if place not in places]


def fitted(
    weights: Mapping[str, Tensor], file: NetworkFile, targets: Iterable[Target], told: Mapping[str, float]
) -> dict[str, Matrices]:
    """The file's matrices for the targets, by attachment name.  told: from strengths_told().

    Raises RuntimeError if a module's matrices do not belong together.
    """
    whole: dict[str, Matrices] = {}
    apart: dict[str, dict[int, Matrices]] = {}
    places = _places(targets)
    for place, found in file.modules.items():
        if (slot := places.get(place)) is None:
            continue
        down, up = weights[found.down].float().flatten(1), weights[found.up].float().flatten(1)
        if up.shape[1] != len(down):
            raise RuntimeError(f"{place.path} has rank {len(down)} on one side and {up.shape[1]} on the other")
        alpha = float(weights[found.alpha]) if found.alpha else 0.0
        matrices = Matrices(down, up, alpha or _alpha(told.get(place.part, told.get("", 0.0)), len(down)))
        if slot.number is None:
            whole[slot.attachment.name] = slot.in_files_order(matrices)
        else:
            apart.setdefault(slot.attachment.name, {})[slot.number] = matrices
    slots = {slot.attachment.name: slot for slot in places.values()}
    return whole | {name: _together(slots[name], parts) for name, parts in apart.items()}


def _alpha(told: float, rank: int) -> float:
    """A missing alpha means the rank."""
    return (-told * rank**0.5 if told < 0 else told) or float(rank)


@dataclass(frozen=True)
class _Slot:
    """A module's place in the network.  number: of the module, if the file's name means one of several.

    by_path: whether the file uses diffusers' name, and so diffusers' order of rows.
    """

    target: Target
    attachment: Attachment
    number: int | None = None
    by_path: bool = False

    def in_files_order(self, matrices: Matrices) -> Matrices:
        if not (self.by_path and self.attachment.swapped):
            return matrices
        return matrices._replace(up=torch.cat(matrices.up.chunk(2)[::-1]))

    def rows(self) -> list[int]:
        """Of each of its modules."""
        layers: list[Any] = [self.target.module.get_submodule(path) for path in self.attachment.paths]
        return [layer.weight.shape[0] for layer in layers]


def _places(targets: Iterable[Target]) -> dict[Place, _Slot]:
    places: dict[Place, _Slot] = {}
    for target in targets:
        for attachment in target.attachments:
            place = place_named(attachment.name)
            places[place] = _Slot(target, attachment)
            for other in attachment.also:
                places.setdefault(Place(place.part, flattened(other)), _Slot(target, attachment))
            for number, path in enumerate(attachment.paths):
                several = len(attachment.paths) > 1
                slot = _Slot(target, attachment, number if several else None, by_path=True)
                places.setdefault(Place(place.part, flattened(path)), slot)
    return places


def _together(slot: _Slot, parts: Mapping[int, Matrices]) -> Matrices:
    """One pair from those of several modules that share `down` in the network, with the same effect.

    If their downs are equal, the pair uses that; otherwise the downs are stacked and the ups form a block diagonal: the
    rank is the sum.
    """
    ordered = [parts[number] for number in sorted(parts)]
    rows, first = slot.rows(), ordered[0]
    same = all(part.down.shape == first.down.shape and torch.equal(part.down, first.down) for part in ordered)
    down = first.down if same else torch.cat([part.down for part in ordered])
    alpha = first.alpha if same else float(len(down))
    ups, begin = [], 0
    for number, count in enumerate(rows):
        up = first.up.new_zeros(count, len(down))
        if number in parts:
            part = parts[number]
            if len(part.up) != count:
                raise RuntimeError(f"{slot.attachment.paths[number]} has {len(part.up)} rows, not {count}")
            # Differences in strength go into `up`.
            strength = part.alpha / part.rank / (alpha / len(down))
            up[:, begin : begin + part.rank] = part.up * strength
            begin += 0 if same else part.rank
        ups.append(up)
    return Matrices(down, torch.cat(ups), alpha)


def read(file: Path) -> tuple[Weights, NetworkFile, dict[str, float]]:
    """The file's tensors by name, what they are, and the strengths it stores.  Raises Failure."""
    weights = Weights(file, "network_weights")
    found = dialect_of({name: weights.shape(name) for name in weights})
    return weights, found, strengths_told(file, weights.metadata)
