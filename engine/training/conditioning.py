"""The captions as the model reads them: encoded once where neither they nor the text encoder change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch

from engine.data.batches import MicroBatch, derived_seed
from engine.data.captions import Moment, may_vary, varied, worded
from engine.models.family import Encoded, Family, Parts, Reading
from engine.settings.captions import Captions

CAPTIONS_AT_A_TIME = 16


class Conditioning:
    """Conditioning of batches.

    captions: of the pictures, by index.  variations: what happens to each of them when it is shown.
    steps: of the whole run.  trained: the text encoder learns, so captions are encoded anew at every step, with
    gradients. Without that, and where each caption has one wording, they are encoded now, and the text encoder
    leaves the device.  device: where the training computes.
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
    ) -> None:
        self._family, self._parts, self._captions = family, parts, captions
        self._variations, self._reading, self._trained = variations, reading, trained
        self._steps, self._device = steps, device
        self._encoded: dict[str, Encoded] = {}
        each = list(zip(captions, variations, strict=True))
        if not trained and not any(may_vary(caption, variation) for caption, variation in each):
            self._encode(worded(caption, variation, Moment(), random.Random(0)) for caption, variation in each)
            for encoder in parts.text_encoders:
                encoder.to("cpu")

    def of(self, batch: MicroBatch) -> Encoded:
        """What the model is told of a batch, on the training device."""
        captions = self.captions_of(batch)
        if self._encoded:
            known = [self._encoded[caption] for caption in captions]
            return {name: torch.stack([one[name] for one in known]).to(self._device) for name in known[0]}
        with torch.set_grad_enabled(self._trained):
            return self._family.encode_text(self._parts, captions, self._reading)

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

    @torch.no_grad()
    def _encode(self, wordings: Iterable[str]) -> None:
        different = list(dict.fromkeys([*wordings, ""]))
        for begin in range(0, len(different), CAPTIONS_AT_A_TIME):
            some = different[begin : begin + CAPTIONS_AT_A_TIME]
            encoded = self._family.encode_text(self._parts, some, self._reading)
            told = {name: tensor.cpu() for name, tensor in encoded.items()}
            self._encoded |= {
                caption: {name: tensor[place] for name, tensor in told.items()} for place, caption in enumerate(some)
            }
