"""Putting noise on latents."""

from __future__ import annotations

from torch import Tensor


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = √ᾱ_t · x₀ + √(1 − ᾱ_t) · ε.

    latents, noise: (B, C, h, w).  timesteps: (B,) integers in [0, T).  alphas_cumprod: (T,).
    Returns (B, C, h, w).  Source: Ho et al. 2020, arXiv:2006.11239, eq. 4.
    """
    alpha = alphas_cumprod[timesteps].to(latents.dtype).view(-1, 1, 1, 1)
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
