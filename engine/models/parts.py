"""The loaded pieces of a base model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.models.conditioning import Conditioning
from engine.models.extra_channels import EXTRA_CHANNELS, ExtraChannels
from engine.models.vae import to_latents

Prediction = Literal["epsilon", "v_prediction", "flow"]
"""What the model predicts: the noise, the velocity of Salimans & Ho 2022, or that of a straight flow."""


@dataclass
class Parts:
    """The loaded components of a base model.

    denoiser: the UNet or transformer.  text_encoders, tokenizers: in the order in which the family uses them.
    first_encoder: diffusers' number of the first of these; SDXL's refiner only has the second.
    alphas_cumprod: (T,) ᾱ of the noise schedule that it is trained with, None for a flow.
    alphas_with_signal: the same without zero terminal SNR.
    scheduler: the configuration of the sampler that goes with the model, its class under "_class_name".
    pipeline: a diffusers folder's settings for the whole model, such as force_zeros_for_empty_prompt.
    extra_channels: the denoiser's inputs besides the noisy latents, None for nothing.
    refines: samples start from a picture.
    """

    denoiser: nn.Module
    vae: nn.Module
    text_encoders: list[nn.Module]
    tokenizers: list[Any]
    first_encoder: int = 1
    prediction: Prediction = "epsilon"
    alphas_cumprod: Tensor | None = None
    alphas_with_signal: Tensor | None = None
    scheduler: dict[str, Any] = field(default_factory=dict)
    pipeline: dict[str, Any] = field(default_factory=dict)
    extra_channels: ExtraChannels | None = None
    refines: bool = False

    @property
    def stride(self) -> int:
        """Pixels per latent, along a side."""
        vae: Any = self.vae
        return int(2 ** (len(vae.config.block_out_channels) - 1))

    def modules(self) -> Iterator[nn.Module]:
        yield from (self.denoiser, *self.of_pictures(), *self.text_encoders)

    def of_pictures(self) -> list[nn.Module]:
        """The modules that process pictures: mainly the VAE."""
        return [self.vae, *(self.extra_channels.modules() if self.extra_channels else ())]

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | torch.Generator | None) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] as latents, followed by the extra channels."""
        latents = to_latents(self.vae, pixels, noise)
        if self.extra_channels is None:
            return latents
        return torch.cat([latents, self.extra_channels.of(self.vae, pixels, noise).to(latents.dtype)], dim=1)

    def split_channels(self, encoded: Tensor) -> tuple[Tensor, Conditioning]:
        """The result of encode(), split into latents and extra channels, which are conditioning like the captions'."""
        latents, extra = encoded[:, : self.channels], encoded[:, self.channels :]
        return latents, {EXTRA_CHANNELS: extra} if self.extra_channels else {}

    @property
    def channels(self) -> int:
        """Of a latent."""
        vae: Any = self.vae
        return int(vae.config.latent_channels)

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""
        return next(self.denoiser.parameters()).device
