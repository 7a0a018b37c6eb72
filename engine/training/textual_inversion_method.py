"""Textual inversion: the model learns new words, and nothing else in it changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.denoising import Denoising
from engine.training.words import Words


class TextualInversionMethod(Denoising):
    adapter = "textual-inversion"
    trains_text_encoder = True

    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, *, goes_on: Mapping[str, Tensor] | None = None
    ) -> None:
        """goes_on: a state that the run resumes from, which then needs no file of embeddings."""
        self._words = Words(family, parts, settings, goes_on=bool(goes_on))
        self._rate = settings.optimizer.learning_rate

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [self._words.group(self._rate)]

    def metadata(self) -> dict[str, Any]:
        return self._words.metadata()

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        self._words.save(file, metadata, first_in_it=True)

    def state_dict(self) -> dict[str, Tensor]:
        return self._words.state_dict()

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        self._words.load_state_dict(weights)
