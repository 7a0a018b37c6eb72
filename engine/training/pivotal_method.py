"""Pivotal tuning: a LoRA and the new words that call it are trained together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.models.embedding_files import bundled
from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.textual_inversion import IN_LORA
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from engine.training.words import Words

_STATE = "new_words."


class PivotalMethod(LoraMethod):
    def __init__(
        self,
        family: Family,
        parts: Parts,
        settings: TrainingSettings,
        *,
        total_steps: int,
        dtype: torch.dtype,
        goes_on: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._rate, self._saved = settings.textual_inversion.words_lr, settings.textual_inversion.save_words
        of_network = goes_on and {name: one for name, one in goes_on.items() if not name.startswith(_STATE)}
        super().__init__(family, parts, settings, total_steps=total_steps, dtype=dtype, goes_on=of_network)
        weights = settings.network.network_weights
        begun = Path(weights) if weights else None
        # After the network: peft freezes whatever it finds.
        self._words = Words(family, parts, settings, goes_on=bool(goes_on), bundled=begun)

    @property
    def trains_text_encoder(self) -> bool:
        return True

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [*super().parameter_groups(), self._words.group(self._rate)]

    def metadata(self) -> dict[str, Any]:
        return super().metadata() | self._words.metadata()

    def file_weights(self) -> dict[str, Tensor]:
        if self._saved not in (IN_LORA, "both"):
            return super().file_weights()
        return super().file_weights() | bundled(self._words.by_word())

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        super().save(file, metadata)
        if self._saved != IN_LORA:
            self._words.save(file, metadata, first_in_it=False)

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {f"{_STATE}{name}": one for name, one in self._words.state_dict().items()}

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        super().load_state_dict(weights)
        self._words.load_state_dict(
            {name.removeprefix(_STATE): one for name, one in weights.items() if name.startswith(_STATE)}
        )
