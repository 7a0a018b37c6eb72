"""What a file holds that a network begins from, mapped to the network's modules.

Nothing in the file is lost: what has no place is listed, and modules that are separate in the file but one in the
network are combined exactly, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.models.single_file import Weights
from engine.models.targets import Attachment, Target
from engine.networks.dialects import Found, NetworkFile, Place, dialect_of, flattened, place_named
from engine.networks.held import Held, joined, turned
from engine.networks.kind import Kind
from engine.networks.signs import TURNING, has_core, rank_of_layer, sizes_of_layer
from engine.reading import parse_json, small_json

LARGEST_CONFIG = 1_000_000
"""Bytes of an adapter_config.json; usual ones have a thousand."""


def usual(pairs: Iterable[tuple[int, float]]) -> tuple[int, float] | None:
    """The rank and alpha that most modules have; None if there are none."""
    counted = Counter(pairs).most_common(1)
    return counted[0][0] if counted else None


def strengths_told(file: Path, metadata: Mapping[str, str]) -> dict[str, float]:
    """The alphas that peft's and diffusers' files store outside their tensors, by part, "" for all, or by part and path
    as in "unet.mid_block_…"; as shares of √rank if negative.

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
    for name, told_there in told.items() if isinstance(told, dict) else ():
        component, _, key = name.rpartition(".")
        if component not in parts or key not in ("lora_alpha", "alpha", "alpha_pattern"):
            continue
        by_root = told.get(f"{component}.use_rslora".strip("."), False)
        of_modules = told_there if isinstance(told_there, dict) else {}
        for module, alpha in {"": told_there, **of_modules}.items():
            if isinstance(alpha, (int, float)) and alpha > 0:
                where = parts[component] + (f".{flattened(module.lstrip('^'))}" if module else "")
                found[where] = -float(alpha) if by_root else float(alpha)
    return found


def unplaced(file: NetworkFile, targets: Iterable[Target]) -> list[Place]:
    """Modules of the file that have no place in a network on these targets."""
    places = _places(targets)
    return [place for place in file.modules if place not in places]


def fitted(
    weights: Mapping[str, Tensor], file: NetworkFile, targets: Iterable[Target], told: Mapping[str, float]
) -> dict[str, Held]:
    """What the file holds for the targets, by attachment name.  told: from strengths_told().

    Raises RuntimeError if a module's tensors do not belong together, or not on the module.
    """
    whole: dict[str, Held] = {}
    apart: dict[str, dict[int, Held]] = {}
    places = _places(targets)
    for place, found in file.modules.items():
        if (slot := places.get(place)) is None:
            continue
        held = _held(place, found, weights, told)
        if slot.number is None:
            whole[slot.attachment.name] = turned(held) if slot.by_path and slot.attachment.swapped else held
        else:
            apart.setdefault(slot.attachment.name, {})[slot.number] = held
    slots = {slot.attachment.name: slot for slot in places.values()}
    for name, parts in apart.items():
        if name in whole:
            raise RuntimeError(f"{name} is there as a whole and in parts")
        whole[name] = joined(parts, slots[name].rows())
    for name, held in whole.items():
        slots[name].verify(held)
    return whole


def held_in(state: Mapping[str, Tensor], kind: Kind | None = None) -> dict[str, Held]:
    """What a network's state_dict() holds of layers that have a file's sizes, by attachment name.

    With those goes their alpha; the others have it from the settings.  kind: whose names and sizes in files are given
    in place of the state's.
    """
    places: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        place, _, end = name.partition(".")
        places.setdefault("lora" + place.removeprefix("lora").removeprefix("oft"), {})[end] = tensor
    if kind is not None:
        places = {place: dict(kind.in_file(tensors)) for place, tensors in places.items()}
    return {
        place: Held(tensors, rank_of_layer({end: tuple(one.shape) for end, one in tensors.items()}), alpha)
        for place, tensors in places.items()
        if "alpha" in tensors
        for alpha in (float(tensors.pop("alpha")),)
    }


_PAIRS = (
    ("lora_up.weight", "lora_down.weight"), ("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b"),
    ("lokr_w1_a", "lokr_w1_b"), ("lokr_w2_a", "lokr_w2_b"), ("a1.weight", "a2.weight"), ("b1.weight", "b2.weight"),
)  # fmt: skip
"""What is multiplied, over the ranks that both have."""


def _held(place: Place, found: Found, weights: Mapping[str, Tensor], told: Mapping[str, float]) -> Held:
    """Raises RuntimeError if its tensors do not belong together."""
    tensors = {end: weights[name].float() for end, name in found.names.items() if end != "alpha"}
    for left, right in _PAIRS:
        if left in tensors and right in tensors:
            turned_around = has_core(found.shapes) and not left.startswith(("lora_", "lokr_w1"))
            one, other = tensors[left].shape[0 if turned_around else 1], len(tensors[right])
            if one != other:
                raise RuntimeError(f"{place.path} has rank {other} on one side and {one} on the other")
    if "magnitude_vector" in found.names.get("dora_scale", ""):  # peft's has no sides but the outputs
        tensors["dora_scale"] = tensors["dora_scale"].reshape(-1, 1)
    alpha = float(weights[found.names["alpha"]]) if "alpha" in found.names else 0.0
    if not found.rank or found.kind in TURNING:  # no strength: nothing, or a limit
        return Held(tensors, found.rank, alpha)
    outside = told.get(f"{place.part}.{place.path}") or told.get(place.part) or told.get("", 0.0)
    return Held(tensors, found.rank, alpha or _alpha(outside, found.rank))


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

    def rows(self) -> list[int]:
        """Of each of its modules."""
        return [shape[0] for shape in self._shapes()]

    def verify(self, held: Held) -> None:
        """Raises RuntimeError where it changes a weight of another size."""
        first = self._shapes()[0]
        sizes, rows, columns = sizes_of_layer(held.shapes), sum(self.rows()), prod(first[1:])
        for found, real in zip(sizes, (rows, columns), strict=True):
            if found not in (0, real):
                raise RuntimeError(f"{self.attachment.name} is for a weight of {sizes}, not of {rows} × {columns}")
        for end in ("diff_b", "dora_scale"):
            shape = held.shapes.get(end, ())
            of_inputs = end == "dora_scale" and shape[:1] == (1,) and prod(shape) == first[1]
            if end in held.shapes and prod(shape) != rows and not of_inputs:
                raise RuntimeError(f"{self.attachment.name}.{end} is of shape {shape}, for a weight of {rows} rows")

    def _shapes(self) -> list[tuple[int, ...]]:
        layers: list[Any] = [self.target.module.get_submodule(path) for path in self.attachment.paths]
        return [tuple(layer.weight.shape) for layer in layers]


def also_called(attachment: Attachment) -> list[Place]:
    """Its places by the names in `also`."""
    part = place_named(attachment.name).part
    return [
        place_named(other) if other.startswith("lora_te") else Place(part, flattened(other))
        for other in attachment.also
    ]


def _places(targets: Iterable[Target]) -> dict[Place, _Slot]:
    places: dict[Place, _Slot] = {}
    for target in targets:
        for attachment in target.attachments:
            place = place_named(attachment.name)
            places[place] = _Slot(target, attachment)
            for there in also_called(attachment):
                places.setdefault(there, _Slot(target, attachment))
            for number, path in enumerate(attachment.paths):
                several = len(attachment.paths) > 1
                slot = _Slot(target, attachment, number if several else None, by_path=True)
                places.setdefault(Place(place.part, flattened(path)), slot)
    return places


def read(file: Path) -> tuple[Weights, NetworkFile, dict[str, float]]:
    """The file's tensors by name, what they are, and the strengths it stores.  Raises Failure."""
    weights = Weights(file, "network_weights")
    found = dialect_of({name: weights.shape(name) for name in weights})
    return weights, found, strengths_told(file, weights.metadata)
