"""The captions as the model reads them: encoded once where neither they nor the text encoder change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch

from engine.data.batches import MicroBatch, derived_seed
from engine.data.captions import Moment, only_wordings, varied, vary
from engine.models.family import Encoded, Family, Parts, Reading
from engine.settings.captions import Captions
from engine.training.kept_captions import KeptCaptions

CAPTIONS_AT_A_TIME = 16


class Conditioning:
    """Conditioning of batches.

    captions: of the pictures, by index.  variations: what happens to each of them when it is shown.
    steps: of the whole run.  trained: the text encoder learns, so captions are encoded anew at every step, with
    gradients. Without that, and where each caption has one wording, they are encoded now.
    device: where the training computes.  kept: where they are kept in files.
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
    ) -> None:
        self._family, self._parts, self._captions = family, parts, captions
        self._variations, self._reading, self._trained = variations, reading, trained
        self._steps, self._device, self._kept = steps, device, kept
        self._encoded: dict[str, Encoded] = {}
        if kept:
            self._encode_into(kept)
            if kept.drops:
                self._encode([""])
        elif not trained and not vary(captions, variations):
            self._encode([*only_wordings(captions, variations), ""])

    @property
    def is_encoded(self) -> bool:
        """The text encoders are asked no more."""
        return bool(self._kept or self._encoded)

    def of(self, batch: MicroBatch) -> Encoded:
        """What the model is told of a batch, on the training device."""
        captions, kept = self.captions_of(batch), self._kept
        if kept:
            each = zip(captions, batch.pictures, strict=True)
            return self._together([self._encoded.get(caption) or kept.get(index) for caption, index in each])
        if self._encoded:
            return self._together([self._encoded[caption] for caption in captions])
        with torch.set_grad_enabled(self._trained and torch.is_grad_enabled()):
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

    def _together(self, captions: list[Encoded]) -> Encoded:
        return {name: torch.stack([one[name] for one in captions]).to(self._device) for name in captions[0]}

    def _encode_into(self, kept: KeptCaptions) -> None:
        for begin in range(0, len(kept.lacking), CAPTIONS_AT_A_TIME):
            some = kept.lacking[begin : begin + CAPTIONS_AT_A_TIME]
            for index, told in zip(some, self._told([kept.captions[index] for index in some]), strict=True):
                kept.keep(index, told)

    def _encode(self, captions: Iterable[str]) -> None:
        different = list(dict.fromkeys(captions))
        for begin in range(0, len(different), CAPTIONS_AT_A_TIME):
            some = different[begin : begin + CAPTIONS_AT_A_TIME]
            self._encoded |= zip(some, self._told(some), strict=True)

    @torch.no_grad()
    def _told(self, captions: list[str]) -> list[Encoded]:
        """What each says, on the CPU."""
        encoded = self._family.encode_text(self._parts, captions, self._reading)
        told = {name: tensor.cpu() for name, tensor in encoded.items()}
        return [{name: tensor[place] for name, tensor in told.items()} for place in range(len(captions))]
