"""A sample picture to draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from engine.models.conditioning import Conditioning
from engine.models.extra_channels import EXTRA_CHANNELS, InitImage
from engine.models.parts import Parts
from engine.settings.samples import SamplePrompt


@dataclass(frozen=True)
class Drawing:
    """A sample picture to draw, width × height pixels.  init_image: the picture it starts from."""

    prompt: SamplePrompt
    width: int
    height: int
    seed: int
    init_image: InitImage = field(default_factory=InitImage)

    def guidance(self, usual: float) -> float:
        """Classifier-free guidance: the prompt's, otherwise the model's default."""
        return usual if self.prompt.guidance_scale is None else self.prompt.guidance_scale

    def generator(self) -> torch.Generator:
        """Drawn on the CPU, noise is the same on every machine."""
        return torch.Generator().manual_seed(self.seed)

    def shape(self, parts: Parts) -> tuple[int, int, int, int]:
        """Of the latents that are drawn."""
        return 1, parts.channels, self.height // parts.stride, self.width // parts.stride

    def begin(self, parts: Parts, dtype: torch.dtype) -> dict[str, Any]:
        """Where diffusers' pipelines begin: the latents, of as many channels as are drawn, and the noise to come."""
        generator = self.generator()
        latents = torch.randn(self.shape(parts), generator=generator, dtype=dtype).to(parts.device)
        return {"latents": latents, "generator": generator, "width": self.width, "height": self.height}

    def extra_channels(self, parts: Parts) -> Conditioning:
        """The extra channels for this sample; empty if the model has none."""
        if parts.extra_channels is None:
            return {}
        size = self.height, self.width
        return {EXTRA_CHANNELS: parts.extra_channels.of_sample(parts.vae, size, self.init_image, self.generator())}
