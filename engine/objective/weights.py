"""How much each timestep counts, by its signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor

LARGEST_SNR = 1000.0
"""Cap of the ratio where it divides or scales a loss: it grows without bound as the noise goes to 0."""


def signal_to_noise(timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """ᾱ_t / (1 − ᾱ_t).  timesteps: (B,).  alphas_cumprod: (T,).  Returns (B,)."""
    alpha = alphas_cumprod[timesteps]
    return alpha / (1 - alpha)


def min_snr_weight(snr: Tensor, gamma: float) -> Tensor:
    """min(SNR, γ) / SNR, for ε-prediction.  snr: (B,).  Returns (B,).

    Source: Hang et al. 2023, arXiv:2303.09556, section 3.4.
    """
    return snr.clamp(max=gamma) / snr


def debiased_weight(snr: Tensor) -> Tensor:
    """1 / √SNR, for ε-prediction.  snr: (B,).  Returns (B,).  Source: Yu et al. 2023, arXiv:2310.08442."""
    return snr.clamp(max=LARGEST_SNR).rsqrt()


def velocity_like_weight(snr: Tensor, share: float) -> Tensor:
    """1 + share · (SNR + 1) / SNR: the ε-loss, and a share of what the velocity's would be.

    With v = √ᾱ ε − √(1 − ᾱ) x₀, an error of ε is an error of v divided by √ᾱ, and 1/ᾱ = (SNR + 1)/SNR.
    snr: (B,).  Returns (B,).  Source: Salimans & Ho 2022, arXiv:2202.00512, section 4.
    """
    capped = snr.clamp(max=LARGEST_SNR)
    return 1 + share * (capped + 1) / capped
