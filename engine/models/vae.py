"""Pictures to latents and back; every family here has diffusers' AutoencoderKL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LARGEST_WHOLE = 128 * 128
"""Latents (h · w) that are decoded at once, as for 1024²; larger ones are decoded in tiles, with faint seams."""


def to_latents(vae: nn.Module, pixels: Tensor, generator: list[torch.Generator] | torch.Generator | None) -> Tensor:
    """A draw from the VAE's distribution for (B, 3, H, W) in [-1, 1]: (B, C, h, w), shifted and scaled to about unit
    variance (Rombach et al. 2022, arXiv:2112.10752, section 3.3 and appendix G).
    """
    model: Any = vae
    model.use_tiling = False  # tiles are normalised separately: the latents would differ
    latents = model.encode(pixels.to(model.device, model.dtype)).latent_dist.sample(generator)
    return (latents - _shift(model)) * model.config.scaling_factor


def to_pixels(vae: nn.Module, latents: Tensor) -> Tensor:
    """The inverse of to_latents(): (B, C, h, w) → (B, 3, H, W) in about [-1, 1].

    SDXL's own VAE breaks in float16, even if only autocast causes it, so float32 is used.
    """
    model: Any = vae
    model.use_tiling = latents.shape[-1] * latents.shape[-2] > LARGEST_WHOLE
    is_narrow = model.dtype == torch.float16
    with torch.autocast(latents.device.type, enabled=False):
        if is_narrow:
            model.to(torch.float32)
        wide = latents.to(model.dtype) / model.config.scaling_factor + _shift(model)
        pixels: Tensor = model.decode(wide, return_dict=False)[0]
        if is_narrow:
            model.to(torch.float16)
    return pixels


def _shift(vae: Any) -> float:
    """Only VAEs with 16 channels have one."""
    return vae.config.shift_factor or 0.0
