"""The conditioning of batches by their captions: encoded once if neither captions nor text encoders change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch

from engine.data.batches import MicroBatch, derived_seed
from engine.data.captions import Moment, only_wordings, varied, vary
from engine.models.conditioning import Conditioning
from engine.settings.captions import Captions
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.kept_captions import KeptCaptions


class CaptionConditioning:
    """Create it while the text encoders are on their device: if none of them is trained and each caption has only one
    wording, all are encoded now.

    captions: of the pictures, by index.  variations: how each of them varies when it is shown.
    steps: of the whole run.  device: where the training computes.  kept: the files they are cached in, if any.
    progress: receives the progress of encoding, and says whether to stop.  Raises Failure, Stopped.
    """

    def __init__(
        self,
        encoder: CaptionEncoder,
        captions: Sequence[str],
        variations: Sequence[Captions],
        *,
        steps: int,
        device: torch.device,
        kept: KeptCaptions | None = None,
        progress: CaptionProgress | None = None,
    ) -> None:
        self._encoder, self._captions, self._variations = encoder, captions, variations
        self._steps, self._device, self._kept = steps, device, kept
        self._encoded: dict[str, Conditioning] = {}
        progress = progress or CaptionProgress()
        if kept:
            kept.encode(progress)
            if kept.drops:
                self._encode([""], progress)
        elif not encoder.learns and not vary(captions, variations):
            self._encode([*only_wordings(captions, variations), ""], progress)

    @property
    def is_encoded(self) -> bool:
        """Whether the text encoders are no longer needed."""
        return bool(self._kept or self._encoded)

    def read(self, batch: MicroBatch) -> Conditioning | None:
        """A batch's cached conditioning, on the CPU; None if it is encoded each time.  For threads that read ahead.

        Raises Failure.
        """
        captions, kept = self.captions_of(batch), self._kept
        if kept:
            each = zip(captions, batch.pictures, strict=True)
            return _together([self._encoded.get(caption) or kept.get(index) for caption, index in each])
        return _together([self._encoded[caption] for caption in captions]) if self._encoded else None

    def of(self, batch: MicroBatch, read: Conditioning | None = None) -> Conditioning:
        """A batch's conditioning, on the training device.  read: the result of read(), if it was called ahead.

        Raises Failure.
        """
        read = self.read(batch) if read is None else read
        if read is None:
            return self._encoder.encode(self.captions_of(batch))
        return {name: tensor.to(self._device) for name, tensor in read.items()}

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
            self._encoded |= zip(some, self._encoder.encode_each(some), strict=True)
        progress.check()


def _together(captions: list[Conditioning]) -> Conditioning:
    return {name: torch.stack([one[name] for one in captions]) for name in captions[0]}
