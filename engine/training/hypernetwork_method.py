"""The hypernetwork method: small networks before the keys and values of attention learn, and the model stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.family import Family
from engine.models.parts import Parts
from engine.networks.hypernetwork import Hypernetwork, Structure, widths_in
from engine.networks.hypernetwork_files import OPTION, Found, read_hypernetwork, write_hypernetwork
from engine.settings.training import TrainingSettings
from engine.training.denoising import Denoising
from engine.training.metadata import DTYPES
from engine.training.state import foreign

BUILT = "built"
"""In a state: how the network is built, for a run that began from a file which is gone: JSON as bytes."""


@dataclass(frozen=True)
class Built:
    """How a network is built.  steps_before: those of the file that it began from.  steps: they and the run's own."""

    structure: Structure
    widths: list[int]
    steps_before: int
    steps: int

    def told(self) -> Tensor:
        """JSON as bytes."""
        return torch.frombuffer(bytearray(json.dumps(asdict(self)).encode()), dtype=torch.uint8)

    @classmethod
    def read(cls, state: Mapping[str, Tensor]) -> Built:
        """Raises Failure if the state is another method's."""
        if BUILT not in state:
            raise foreign()
        said = json.loads(bytes(state[BUILT].tolist()))
        lists = {name: tuple(value) for name, value in said["structure"].items() if isinstance(value, list)}
        return cls(**said | {"structure": Structure(**said["structure"] | lists)})

    def is_like(self, other: Built) -> bool:
        """But for how it once began."""
        return self.widths == other.widths and self.structure == replace(other.structure, init=self.structure.init)


class HypernetworkMethod(Denoising):
    adapter = "hypernetwork"
    trains_text_encoder = False

    def __init__(
        self,
        family: Family,
        parts: Parts,
        settings: TrainingSettings,
        *,
        dtype: torch.dtype,
        goes_on: Mapping[str, Tensor] | None = None,
    ) -> None:
        """goes_on: the weights of the state that the run resumes from; it then needs no file.  Raises Failure."""
        s, there = settings.hypernetwork, widths_in(parts.denoiser)
        file = Path(s.hypernetwork_weights) if s.hypernetwork_weights and not goes_on else None
        found = read_hypernetwork(file) if file else None
        if found:
            built = Built(found.structure, found.widths, found.steps, found.steps)
        elif s.hypernetwork_weights and goes_on:  # the file may be gone, or be another one by now
            built = Built.read(goes_on)
        else:
            built = Built(Structure.of(s), s.sizes() or there, 0, 0)
            if goes_on:
                saved = Built.read(goes_on)
                if not built.is_like(saved):
                    raise foreign()
                built = saved
        widths, self._steps_before, self._steps = built.widths, built.steps_before, built.steps
        if missing := [width for width in widths if width not in there]:
            raise _no_such_width(missing[0], there, file)
        self._network = Hypernetwork(parts.denoiser, widths, built.structure, dtype)
        if file and found:
            self._begin_from(file, found)
        self._rate, self._dtype = settings.optimizer.learning_rate, DTYPES[settings.source_model.save_precision]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"name": "hypernetwork", "params": [*self._network.parameters()], "lr": self._rate}]

    def before_step(self, step: int) -> None:
        self._steps = self._steps_before + step

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        write_hypernetwork(file, self._network, dtype=self._dtype, steps=self._steps, metadata=metadata)

    def state_dict(self) -> dict[str, Tensor]:
        built = Built(self._network.structure, self._network.widths, self._steps_before, self._steps)
        return {name: tensor.detach() for name, tensor in self._network.state_dict().items()} | {BUILT: built.told()}

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        self._network.load_state_dict({name: tensor for name, tensor in weights.items() if name != BUILT})

    def _begin_from(self, file: Path, found: Found) -> None:
        try:
            for (width, use), weights in found.weights.items():
                self._network.of(width, use).load_state_dict(weights)
        except RuntimeError as error:
            raise Failure(
                f"The layers in {file.name} are not those that it says to have.",
                "Choose another file, or clear the field.",
                OPTION,
            ) from error


def _no_such_width(width: int, there: list[int], file: Path | None) -> Failure:
    listed = ", ".join(map(str, there))
    if file:
        return Failure(
            f"{file.name} changes attention layers of width {width}, but this model has those of {listed}.",
            "It was trained for another family of models. Choose another file, or clear the field.",
            OPTION,
        )
    return Failure(
        f"Modules names {width}, but this model's attention layers have widths of {listed}.",
        "Correct it, or clear the field for all of them.",
        "hypernetwork_sizes",
    )
