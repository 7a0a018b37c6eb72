"""The captions of held-out pictures: always the same, with nothing dropped."""

from __future__ import annotations

import random

import torch
from accelerate import Accelerator

from engine.data.batches import derived_seed
from engine.data.captions import settled
from engine.data.folders import short
from engine.data.items import Item, captions_of
from engine.settings.captions import Captions
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.conditioning import CaptionConditioning
from engine.training.kept_captions import kept_captions


class HeldOutCaptions:
    """Create it in all processes, which share the work."""

    def __init__(
        self, encoder: CaptionEncoder, settings: TrainingSettings, items: list[Item], accelerator: Accelerator
    ) -> None:
        self._encoder = encoder
        self.texts = [
            settled(caption, item.subset.captions, random.Random(validation_seed(item, "caption")))
            for item, caption in zip(items, captions_of(items), strict=True)
        ]
        self._as_they_are = [Captions()] * len(items)
        self._kept = kept_captions(
            encoder,
            settings,
            pictures=[item.picture for item in items],
            captions=self.texts,
            variations=self._as_they_are,
            warn=lambda _: None,  # the reason why they cannot be cached is reported for the training captions
            accelerator=accelerator,
        )

    @property
    def needs_encoders(self) -> bool:
        return self._kept is None or self._kept.needs_encoders

    def conditioning(self, device: torch.device, progress: CaptionProgress) -> CaptionConditioning:
        """Create it while the text encoders are on the device.  Raises Stopped."""
        return CaptionConditioning(
            self._encoder,
            self.texts,
            self._as_they_are,
            steps=1,
            device=device,
            kept=self._kept,
            progress=progress,
        )


def validation_seed(item: Item, what: object) -> int:
    """Seed of something drawn for a held-out picture: from the validation seed and the picture's name alone."""
    return derived_seed(item.subset.validation.validation_seed, "validation", short(item.picture), what)
