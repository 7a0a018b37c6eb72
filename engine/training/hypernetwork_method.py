"""The hypernetwork method: small networks before the keys and values of attention learn, and the model stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
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

BUILT = "built"
"""In a state: how the network is built, for a run that began from a file which is gone: JSON as bytes."""


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
        if goes_on:
            structure, widths, self._steps_before = _built(goes_on)
        elif found:
            structure, widths, self._steps_before = found.structure, found.widths, found.steps
        else:
            structure, widths, self._steps_before = Structure.of(s), s.sizes() or there, 0
        if foreign := [width for width in widths if width not in there]:
            raise _no_such_width(foreign[0], there, file)
        self._network = Hypernetwork(parts.denoiser, widths, structure, dtype)
        if file and found:
            self._begin_from(file, found)
        self._rate, self._dtype = settings.optimizer.learning_rate, DTYPES[settings.source_model.save_precision]
        self._steps = self._steps_before

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"name": "hypernetwork", "params": [*self._network.parameters()], "lr": self._rate}]

    def before_step(self, step: int) -> None:
        self._steps = self._steps_before + step

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        write_hypernetwork(file, self._network, dtype=self._dtype, steps=self._steps, metadata=metadata)

    def state_dict(self) -> dict[str, Tensor]:
        built = {"structure": asdict(self._network.structure), "widths": self._network.widths,
                 "steps": self._steps_before}  # fmt: skip
        told = torch.frombuffer(bytearray(json.dumps(built).encode()), dtype=torch.uint8)
        return {name: tensor.detach() for name, tensor in self._network.state_dict().items()} | {BUILT: told}

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


def _built(state: Mapping[str, Tensor]) -> tuple[Structure, list[int], int]:
    told = json.loads(bytes(state[BUILT].tolist()))
    lists = {name: tuple(value) for name, value in told["structure"].items() if isinstance(value, list)}
    return Structure(**told["structure"] | lists), told["widths"], told["steps"]


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
