"""What DIM from weights takes from a file for a model's layers, without the file's numbers: its header says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.file_kind import file_kind
from engine.models.header import Header, NoModel, first_bytes, read_numbers
from engine.models.pickled import header_of
from engine.models.targets import Target
from engine.networks.begun_from import fitted
from engine.networks.dialects import dialect_of
from engine.networks.held import Held
from engine.settings.training import TrainingSettings

OPTION = "network_weights"


class _Outlines(Mapping[str, Tensor]):
    """The file's tensors on torch's meta device, but for those of one number.  Those that begin alike are one object,
    by which matrices that several modules share are known.
    """

    def __init__(self, file: Path, header: Header) -> None:
        shapes, single = header.shapes, {name for name, shape in header.shapes.items() if prod(shape) == 1}
        is_listed = file_kind(file) == "safetensors"
        numbers, begins = (read_numbers(file, single), first_bytes(file, shapes)) if is_listed else ({}, {})
        kept: dict[object, Tensor] = {}
        self._tensors = {
            name: torch.tensor(numbers.get(name, 1.0)).reshape(shape)
            if name in single
            else kept.setdefault((shape, begins.get(name, name)), torch.empty(shape, device="meta"))
            for name, shape in shapes.items()
        }

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def sizes_in_file(settings: TrainingSettings, targets: Iterable[Target]) -> Mapping[str, Held]:
    """By attachment name; none where the settings take no sizes from a file.  Raises Failure."""
    s = settings.network
    if not (s.dim_from_weights and s.network_weights):
        return {}
    file = Path(s.network_weights)
    if not file.is_file():
        raise Failure(f'There is no file "{file}".', "Correct the path, or clear the field.", OPTION)
    try:
        header = header_of(file)
        return fitted(_Outlines(file, header), dialect_of(header.shapes), targets, {})
    except NoModel as error:
        raise Failure(str(error), error.mend, OPTION) from error
    except RuntimeError as error:
        raise Failure(f"{file.name} does not fit this model: {error}.", "Choose another file.", OPTION) from error
