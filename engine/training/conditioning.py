"""The captions as the model reads them: encoded once where the text encoder stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.models.family import Family, Parts, Reading

CAPTIONS_AT_A_TIME = 16


class Conditioning:
    """Conditioning of pictures by index.

    trained: the text encoder learns, so captions are encoded anew at every step, with gradients.
    Otherwise each different caption is encoded now, and the text encoder leaves the device.
    """

    def __init__(self, family: Family, parts: Parts, captions: list[str], reading: Reading, trained: bool) -> None:
        self._family, self._parts, self._captions, self._reading = family, parts, captions, reading
        self._device = next(parts.unet.parameters()).device
        self._encoded: dict[str, Tensor] = {}
        if not trained:
            self._encode_all()
            parts.text_encoder.to("cpu")

    def of(self, indices: tuple[int, ...]) -> Tensor:
        """(B, tokens, channels) on the training device."""
        captions = [self._captions[index] for index in indices]
        if self._encoded:
            return torch.stack([self._encoded[caption] for caption in captions]).to(self._device)
        return self._family.encode_text(self._parts, captions, self._reading)

    @torch.no_grad()
    def _encode_all(self) -> None:
        different = list(dict.fromkeys(self._captions))
        for begin in range(0, len(different), CAPTIONS_AT_A_TIME):
            some = different[begin : begin + CAPTIONS_AT_A_TIME]
            self._encoded |= dict(
                zip(some, self._family.encode_text(self._parts, some, self._reading).cpu(), strict=True)
            )
