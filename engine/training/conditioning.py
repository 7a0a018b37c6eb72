"""The captions as the model reads them: encoded once where neither they nor the text encoder change."""

from __future__ import annotations

import random

import torch

from engine.data.batches import MicroBatch, derived_seed
from engine.data.captions import varied
from engine.models.family import Encoded, Family, Parts, Reading
from engine.settings.captions import Captions
from engine.training.kept_captions import KeptCaptions

CAPTIONS_AT_A_TIME = 16


class Conditioning:
    """Conditioning of batches.

    captions: of the pictures, by index.  variation: what happens to one each time it is shown.
    trained: the text encoder learns, so captions are encoded anew at every step, with gradients. Without that,
    and without shuffling, each different caption is encoded now, and the text encoder leaves the device.
    device: where the training computes.  kept: where they are kept in files.
    """

    def __init__(
        self,
        family: Family,
        parts: Parts,
        captions: list[str],
        variation: Captions,
        reading: Reading,
        trained: bool,
        device: torch.device,
        kept: KeptCaptions | None = None,
    ) -> None:
        self._family, self._parts, self._captions = family, parts, captions
        self._variation, self._reading, self._trained = variation, reading, trained
        self._device, self._kept = device, kept
        self._encoded: dict[str, Encoded] = {}
        if kept:
            self._encode_into(kept)
            if kept.drops:
                self._encode([""])
        elif not trained and not variation.shuffle_caption:
            self._encode([*captions, ""])
        if kept or self._encoded:
            for encoder in parts.text_encoders:
                encoder.to("cpu")

    def of(self, batch: MicroBatch) -> Encoded:
        """What the model is told of a batch, on the training device."""
        captions = [
            varied(
                self._captions[index],
                self._variation,
                batch.epoch,
                random.Random(derived_seed(batch.seed, "caption", position)),
            )
            for position, index in enumerate(batch.pictures)
        ]
        kept = self._kept
        if kept:
            each = zip(captions, batch.pictures, strict=True)
            return self._together([self._encoded.get(caption) or kept.get(index) for caption, index in each])
        if self._encoded:
            return self._together([self._encoded[caption] for caption in captions])
        with torch.set_grad_enabled(self._trained):
            return self._family.encode_text(self._parts, captions, self._reading)

    def _together(self, captions: list[Encoded]) -> Encoded:
        return {name: torch.stack([one[name] for one in captions]).to(self._device) for name in captions[0]}

    @torch.no_grad()
    def _encode_into(self, kept: KeptCaptions) -> None:
        for begin in range(0, len(kept.lacking), CAPTIONS_AT_A_TIME):
            some = kept.lacking[begin : begin + CAPTIONS_AT_A_TIME]
            encoded = self._family.encode_text(self._parts, [self._captions[index] for index in some], self._reading)
            told = {name: tensor.cpu() for name, tensor in encoded.items()}
            for place, index in enumerate(some):
                kept.keep(index, {name: tensor[place] for name, tensor in told.items()})

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> None:
        different = list(dict.fromkeys(captions))
        for begin in range(0, len(different), CAPTIONS_AT_A_TIME):
            some = different[begin : begin + CAPTIONS_AT_A_TIME]
            encoded = self._family.encode_text(self._parts, some, self._reading)
            told = {name: tensor.cpu() for name, tensor in encoded.items()}
            self._encoded |= {
                caption: {name: tensor[place] for name, tensor in told.items()} for place, caption in enumerate(some)
            }
