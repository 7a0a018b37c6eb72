"""One tensor of an original file, and what it is here; used both ways, so that what is loaded can be saved again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Change = Literal["same", "swapped", "transposed", "pointwise"]
"""swapped: the two halves of the rows are exchanged.  transposed: rows and columns are.  pointwise: a matrix here is a
1×1 convolution there."""


@dataclass(frozen=True)
class Entry:
    """original: the tensor's name in the file.  names: of the module's tensors that it is made of, stacked in order."""

    original: str
    names: tuple[str, ...]
    change: Change = "same"

    def split(self, tensor: Tensor, rows: Iterable[int]) -> dict[str, Tensor]:
        """The original's tensor as the module's own; rows: how many each of them has.  Raises RuntimeError."""
        tensor = _changed(tensor, self.change, here=True)
        return dict(zip(self.names, tensor.split(list(rows)) if len(self.names) > 1 else [tensor], strict=True))

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The module's own tensors as the original's."""
        own = [tensors[name] for name in self.names]
        return _changed(torch.cat(own) if len(own) > 1 else own[0], self.change, here=False)


def _changed(tensor: Tensor, change: Change, here: bool) -> Tensor:
    if change == "swapped":
        return torch.cat(tensor.chunk(2)[::-1])
    if change == "transposed":
        return tensor.T.contiguous()
    if change == "pointwise":
        return tensor.flatten(1) if here else tensor[:, :, None, None]
    return tensor


def renamed(module: nn.Module, rules: Iterable[tuple[str, str]], prefix: str = "") -> list[Entry]:
    """An entry for each of a module's tensors, its name changed by all rules (pattern, replacement) in order."""
    return [Entry(prefix + rename(name, rules), (name,)) for name in module.state_dict()]


def rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def stacked(entries: Iterable[Entry], parts: tuple[str, ...], whole: str, joint: str = ".") -> list[Entry]:
    """Entries in which those whose originals end in one of `parts`, before .weight or .bias, become one.

    whole: the ending of that one.  joint: what stands between it and weight or bias.
    """
    kept: list[Entry] = []
    groups: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        stem, _, kind = entry.original.rpartition(".")
        part = next((part for part in parts if stem.endswith(part)), None)
        if part is None:
            kept.append(entry)
        else:
            groups.setdefault(f"{stem.removesuffix(part)}{whole}{joint}{kind}", {})[part] = entry
    for original, group in groups.items():
        kept.append(Entry(original, tuple(name for part in parts for name in group[part].names)))
    return kept


def from_original(
    module: nn.Module,
    entries: Iterable[Entry],
    weights: Mapping[str, Tensor],
    formats: Mapping[str, torch.dtype] | None = None,
) -> dict[str, Tensor]:
    """A state dict of the module out of a file's tensors.  Raises KeyError where one is missing.

    formats: the number formats by the module's names, to which each is brought as it comes; None for the file's own.
    """
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    state: dict[str, Tensor] = {}
    for entry in entries:
        rows = [shapes[name][0] if shapes[name] else 1 for name in entry.names]
        split = entry.split(weights[entry.original], rows)
        state |= {name: tensor.to(formats[name]) for name, tensor in split.items()} if formats else split
    return state


def to_original(module: nn.Module, entries: Iterable[Entry]) -> dict[str, Tensor]:
    """A module's tensors under the names, and in the shapes, of the original file."""
    # Put together in main memory: on the GPU the copies of a large model would not fit beside it.
    state = {name: tensor if tensor.is_meta else tensor.cpu() for name, tensor in module.state_dict().items()}
    return {entry.original: entry.join(state) for entry in entries}
