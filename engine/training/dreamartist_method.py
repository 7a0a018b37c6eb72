"""DreamArtist: a positive and a negative word, between which every step is guided (Dong et al. 2022,
arXiv:2211.11337)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from engine.models.conditioning import Conditioning, Reading
from engine.models.family import Family
from engine.models.parts import Parts
from engine.objective.objective import Corrupted
from engine.settings.training import TrainingSettings
from engine.training.model import Examples, Model
from engine.training.textual_inversion_method import TextualInversionMethod


class DreamArtistMethod(TextualInversionMethod):
    def __init__(
        self, family: Family, parts: Parts, settings: TrainingSettings, *, goes_on: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__(family, parts, settings, goes_on=goes_on)
        self._negative, self._reading = settings.new_words()[-1], Reading.of(settings)
        self._guidance = settings.textual_inversion.dreamartist_guidance

    def predict(self, model: Model, examples: Examples, corrupted: Corrupted) -> Tensor:
        """n + γ (p − n): p of the captions, n of the negative word alone."""
        told: list[Conditioning] = []

        def of_captions() -> Conditioning:
            told.append(examples.conditioning())
            return told[0]

        def of_negative() -> Conditioning:
            captions = [self._negative] * len(examples.latents)
            return told[0] | model.family.encode_text(model.parts, captions, self._reading)  # extra channels stay

        positive, negative = (
            model.predict(corrupted.noisy, corrupted.timesteps, conditioning, examples.sizes)
            for conditioning in (of_captions, of_negative)
        )
        return negative + self._guidance * (positive - negative)
