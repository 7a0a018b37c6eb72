"""How captions become conditioning in a run: with which text encoders, read how, and whether these are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from engine.models.conditioning import Conditioning, Reading
from engine.models.family import Family
from engine.models.parts import Parts


@dataclass(frozen=True)
class CaptionEncoder:
    """learns: a text encoder is trained, so captions are encoded again at every step, with gradients."""

    family: Family
    parts: Parts
    reading: Reading
    learns: bool = False

    def encode(self, captions: Sequence[str]) -> Conditioning:
        """Conditioning of all captions in one batch, on the text encoders' device.  Raises Failure."""
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            return self.family.encode_text(self.parts, list(captions), self.reading)

    @torch.no_grad()
    def encode_each(self, captions: Sequence[str]) -> list[Conditioning]:
        """Conditioning of each caption, without the first dimension, on the CPU.  Raises Failure."""
        together = {name: tensor.cpu() for name, tensor in self.encode(captions).items()}
        return [{name: tensor[place] for name, tensor in together.items()} for place in range(len(captions))]

    def of_prompts(self) -> CaptionEncoder:
        """The same encoder for a sample's two texts, the prompt and the negative prompt."""
        return replace(self, reading=replace(self.reading, negatives=1))
