"""Straight flows from noise to picture (rectified flow): how noisy pictures are, and how often.

σ runs from 0, the picture, to 1, noise alone.  Source: Liu et al. 2022, arXiv:2209.03003; for what is drawn and how it
is weighted, Esser et al. 2024, arXiv:2403.03206.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIMESTEPS = 1000
"""What σ = 1 is called on the scale of timesteps, and how many different σ a discrete schedule has."""


def add_noise(latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """x_σ = (1 − σ) · x₀ + σ · ε.  latents, noise: (B, C, h, w).  sigmas: (B,).  Returns (B, C, h, w)."""
    sigma = sigmas.view(-1, 1, 1, 1).to(latents)
    return (1 - sigma) * latents + sigma * noise


def velocity(latents: Tensor, noise: Tensor) -> Tensor:
    """dx_σ/dσ = ε − x₀, the same along the whole way.  All (B, C, h, w)."""
    return noise - latents


def shifted(sigmas: Tensor, shift: float) -> Tensor:
    """s · σ / (1 + (s − 1) · σ): more noise for s above 1.  sigmas: (B,).  Source: Esser et al. 2024, eq. 23."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def shift_of_size(height: int, width: int) -> float:
    """FLUX.1's shift for latents of this size: larger pictures need more noise to be as unrecognisable.

    exp(μ), μ growing with the number of 2×2 patches, from 0.5 at 256 of them to 1.15 at 4096.
    Source: Black Forest Labs' flux, get_schedule().
    """
    patches = (height // 2) * (width // 2)
    slope = (1.15 - 0.5) / (4096 - 256)
    return math.exp(0.5 + slope * (patches - 256))


def logistic_sigmas(count: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
    """sigmoid(m + s · N(0, 1)): the middle more often than the ends.  Returns (count,), on the CPU."""
    return torch.sigmoid(mean + scale * torch.randn(count))


def mode_sigmas(count: int, scale: float) -> Tensor:
    """1 − u − s · (cos²(πu/2) − 1 + u), u uniform: heavier in the middle for s > 0.  Returns (count,), on the CPU.

    Source: Esser et al. 2024, eq. 20.
    """
    u = torch.rand(count)
    return 1 - u - scale * (torch.cos(math.pi * u / 2).square() - 1 + u)


def discrete(sigmas: Tensor) -> Tensor:
    """The next of the thousand evenly spaced values 1, 0.999, …, 0.001, as a schedule in steps has them.

    Counted from the noisy end: sigmas of [0, 1) give 1 − ⌊1000 σ⌋ / 1000.
    """
    return 1 - (sigmas * TIMESTEPS).long().clamp(0, TIMESTEPS - 1) / TIMESTEPS


def whole_timesteps(sigmas: Tensor) -> Tensor:
    """⌊1000 σ⌋ / 1000, counted from the picture: σ as a model is told that knows whole timesteps only.

    Never 0, where sd-scripts has it once in a thousand draws: the picture itself teaches nothing, and weights divide
    by σ.  sigmas: (B,).  Returns (B,), of 0.001 … 1.
    """
    return (sigmas * TIMESTEPS).long().clamp(1, TIMESTEPS) / TIMESTEPS


def signal_to_noise(sigmas: Tensor) -> Tensor:
    """((1 − σ) / σ)².  sigmas: (B,).  Returns (B,)."""
    return ((1 - sigmas) / sigmas).square()


def inverse_square_weight(sigmas: Tensor) -> Tensor:
    """σ⁻², which counts an error of x₀ as the error of the velocity that it comes from.  sigmas: (B,)."""
    return sigmas.square().reciprocal()


def cosine_map_weight(sigmas: Tensor) -> Tensor:
    """2 / (π · (1 − 2σ + 2σ²)).  sigmas: (B,).  Source: Esser et al. 2024, section 3.1 (CosMap)."""
    return 2 / (math.pi * (1 - 2 * sigmas + 2 * sigmas.square()))
