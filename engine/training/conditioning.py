"""The captions as the model reads them: encoded once where neither they nor the text encoder change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch

from engine.data.batches import MicroBatch, derived_seed
from engine.data.captions import Moment, only_wordings, varied, vary
from engine.models.conditioning import Conditioning, Reading
from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.captions import Captions
from engine.training.caption_progress import CaptionProgress
from engine.training.kept_captions import KeptCaptions


class CaptionConditioning:
    """CaptionConditioning of batches.

    captions: of the pictures, by index.  variations: what happens to each of them when it is shown.
    steps: of the whole run.  trained: the text encoder learns, so captions are encoded anew at every step, with
    gradients. Without that, and where each caption has one wording, they are encoded now.
    device: where the training computes.  kept: where they are kept in files.
    progress: told while captions are encoded, and asked whether to stop.  Raises Failure, Stopped.
    """

    def __init__(
        self,
        family: Family,
        parts: Parts,
        captions: Sequence[str],
        variations: Sequence[Captions],
        reading: Reading,
        steps: int,
        trained: bool,
        device: torch.device,
        kept: KeptCaptions | None = None,
        progress: CaptionProgress | None = None,
    ) -> None:
        self._family, self._parts, self._captions = family, parts, captions
        self._variations, self._reading, self._trained = variations, reading, trained
        self._steps, self._device, self._kept = steps, device, kept
        self._encoded: dict[str, Conditioning] = {}
        progress = progress or CaptionProgress()
        if kept:
            kept.encode(self._told, progress)
            if kept.drops:
                self._encode([""], progress)
        elif not trained and not vary(captions, variations):
            self._encode([*only_wordings(captions, variations), ""], progress)

    @property
    def is_encoded(self) -> bool:
        """The text encoders are asked no more."""
        return bool(self._kept or self._encoded)

    def read(self, batch: MicroBatch) -> Conditioning | None:
        """What was encoded before of a batch, on the CPU; None where that is done anew.  For threads that read ahead.

        Raises Failure.
        """
        captions, kept = self.captions_of(batch), self._kept
        if kept:
            each = zip(captions, batch.pictures, strict=True)
            return _together([self._encoded.get(caption) or kept.get(index) for caption, index in each])
        return _together([self._encoded[caption] for caption in captions]) if self._encoded else None

    def of(self, batch: MicroBatch, read: Conditioning | None = None) -> Conditioning:
        """What the model is told of a batch, on the training device.  read: of the same batch, where it was read ahead.

        Raises Failure.
        """
        read = self.read(batch) if read is None else read
        if read is not None:
            return {name: tensor.to(self._device) for name, tensor in read.items()}
        with torch.set_grad_enabled(self._trained and torch.is_grad_enabled()):
            return self._family.encode_text(self._parts, self.captions_of(batch), self._reading)

    def captions_of(self, batch: MicroBatch) -> list[str]:
        """The captions of a batch as they are shown in it."""
        moment = Moment(batch.epoch, batch.step, self._steps)
        return [
            varied(
                self._captions[index],
                self._variations[index],
                moment,
                random.Random(derived_seed(batch.seed, "caption", position)),
            )
            for position, index in enumerate(batch.pictures)
        ]

    def _encode(self, captions: Iterable[str], progress: CaptionProgress) -> None:
        for some in progress.portions(list(dict.fromkeys(captions))):
            self._encoded |= zip(some, self._told(some), strict=True)
        progress.check()

    @torch.no_grad()
    def _told(self, captions: Sequence[str]) -> list[Conditioning]:
        """What each says, on the CPU."""
        encoded = self._family.encode_text(self._parts, list(captions), self._reading)
        told = {name: tensor.cpu() for name, tensor in encoded.items()}
        return [{name: tensor[place] for name, tensor in told.items()} for place in range(len(captions))]


def _together(captions: list[Conditioning]) -> Conditioning:
    return {name: torch.stack([one[name] for one in captions]) for name in captions[0]}
