"""How captions become conditioning in a run: by which text encoders, read in which way, and whether these learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from engine.models.conditioning import Conditioning, Reading
from engine.models.family import Family
from engine.models.parts import Parts


@dataclass(frozen=True)
class CaptionEncoder:
    """learns: a text encoder is trained, so captions are encoded anew at every step, with gradients."""

    family: Family
    parts: Parts
    reading: Reading
    learns: bool = False

    def encode(self, captions: Sequence[str]) -> Conditioning:
        """Of all of them together, on the text encoders' device.  Raises Failure."""
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            return self.family.encode_text(self.parts, list(captions), self.reading)

    @torch.no_grad()
    def encode_each(self, captions: Sequence[str]) -> list[Conditioning]:
        """Of each caption by itself, without the first dimension, on the CPU.  Raises Failure."""
        together = {name: tensor.cpu() for name, tensor in self.encode(captions).items()}
        return [{name: tensor[place] for name, tensor in together.items()} for place in range(len(captions))]

    def of_prompts(self) -> CaptionEncoder:
        """The same for a sample's two captions, its prompt and its negative one."""
        return replace(self, reading=replace(self.reading, negatives=1))
