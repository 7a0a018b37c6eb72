"""Noise, and adding it to latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = √ᾱ_t · x₀ + √(1 − ᾱ_t) · ε.

    latents, noise: (B, C, h, w).  timesteps: (B,) integers in [0, T).  alphas_cumprod: (T,).
    Returns (B, C, h, w).  Source: Ho et al. 2020, arXiv:2006.11239, eq. 4.
    """
    alpha = alphas_cumprod[timesteps].to(latents.dtype).view(-1, 1, 1, 1)
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


def perturbed(noise: Tensor, gamma: float, random_strength: bool) -> Tensor:
    """ε + γ · N(0, 1): more noise than the timestep says; random_strength: γ is drawn from [0, γ) each time.

    noise: (B, C, h, w).  Returns (B, C, h, w).  Source: Ning et al. 2023, arXiv:2301.11706.
    """
    if not gamma:
        return noise
    return noise + gamma * (torch.rand(()) if random_strength else 1.0) * torch.randn_like(noise)


def offset_noise(noise: Tensor, strength: Tensor | float) -> Tensor:
    """ε + o · N(0, 1), with one number for each picture and channel: the brightness of a whole picture moves.

    noise: (B, C, h, w).  strength: o, broadcast against (B, C, 1, 1).  Returns (B, C, h, w).
    Source: Guttenberg 2023, "Diffusion with offset noise".
    """
    return noise + strength * torch.randn(noise.shape[:2], device=noise.device, dtype=noise.dtype)[..., None, None]


def adaptive_strength(strength: float | Tensor, scale: float, latents: Tensor) -> Tensor:
    """max(0, o + a · |mean of the latents by channel|).  latents: (B, C, h, w).  Returns (B, C, 1, 1)."""
    return (strength + scale * latents.mean(dim=(2, 3), keepdim=True).abs()).clamp(min=0)


def multires_noise(noise: Tensor, iterations: int, discount: float) -> Tensor:
    """Noise with coarser noise laid over it, brought back to a standard deviation of 1.

    In pass i, noise of sizes shrunk by rⁱ is scaled up and added with weight discountⁱ; r is drawn from
    [2, 4) each time. It ends early when a side has shrunk to one element.
    noise: (B, C, h, w).  Returns (B, C, h, w).
    Source: Whitaker 2023, "Multi-Resolution Noise for Diffusion Model Training".
    """
    height, width = noise.shape[2:]
    for i in range(iterations):
        shrink = float(2 + 2 * torch.rand(())) ** i
        small = (max(1, int(height / shrink)), max(1, int(width / shrink)))
        coarse = torch.randn((*noise.shape[:2], *small), device=noise.device, dtype=noise.dtype)
        noise = noise + F.interpolate(coarse, (height, width), mode="bilinear") * discount**i
        if 1 in small:
            break
    return noise / noise.std()


def velocity(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """v = √ᾱ_t · ε − √(1 − ᾱ_t) · x₀.

    latents, noise: (B, C, h, w).  timesteps: (B,) integers in [0, T).  alphas_cumprod: (T,).
    Returns (B, C, h, w).  Source: Salimans & Ho 2022, arXiv:2202.00512, appendix D.
    """
    alpha = alphas_cumprod[timesteps].to(latents.dtype).view(-1, 1, 1, 1)
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


def without_a_trace_of_signal(alphas_cumprod: Tensor) -> Tensor:
    """The noise schedule stretched so that its last step has no signal left: √ᾱ is shifted to end at 0 and scaled to
    begin as before.  (T,) → (T,).  Source: Lin et al. 2023, arXiv:2305.08891, algorithm 1.
    """
    roots = alphas_cumprod.sqrt()
    first, last = roots[0], roots[-1]
    return ((roots - last) * first / (first - last)).square()
