"""How much each timestep counts, by its signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor

LARGEST_SNR = 1000.0
"""Cap of the ratio when it divides or scales a loss: it grows without bound as the noise goes to 0."""


def signal_to_noise(timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """ᾱ_t / (1 − ᾱ_t).  timesteps: (B,).  alphas_cumprod: (T,).  Returns (B,)."""
    alpha = alphas_cumprod[timesteps]
    return alpha / (1 - alpha)


def min_snr_weight(snr: Tensor, gamma: float, of_velocity: bool = False) -> Tensor:
    """min(SNR, γ) / SNR for ε-prediction, min(SNR, γ) / (SNR + 1) for v-prediction.  snr: (B,).  Returns (B,).

    Source: Hang et al. 2023, arXiv:2303.09556, section 3.4.
    """
    return snr.clamp(max=gamma) / (snr + 1 if of_velocity else snr)


def debiased_weight(snr: Tensor, of_velocity: bool = False) -> Tensor:
    """1 / √SNR for ε-prediction, 1 / (SNR + 1) for v-prediction.  snr: (B,).  Returns (B,).

    Source: Yu et al. 2023, arXiv:2310.08442; for v-prediction as sd-scripts has it.
    """
    capped = snr.clamp(max=LARGEST_SNR)
    return 1 / (capped + 1) if of_velocity else capped.rsqrt()


def noise_like_weight(snr: Tensor) -> Tensor:
    """SNR / (SNR + 1): what makes the loss of a velocity that of the noise in it.  snr: (B,).  Returns (B,).

    An error of v is an error of ε divided by √ᾱ, and ᾱ = SNR / (SNR + 1).
    """
    capped = snr.clamp(max=LARGEST_SNR)
    return capped / (capped + 1)


def velocity_like_weight(snr: Tensor, share: float) -> Tensor:
    """1 + share · (SNR + 1) / SNR: the ε-loss, and a share of what the velocity's would be.

    With v = √ᾱ ε − √(1 − ᾱ) x₀, an error of ε is an error of v divided by √ᾱ, and 1/ᾱ = (SNR + 1)/SNR.
    snr: (B,).  Returns (B,).  Source: Salimans & Ho 2022, arXiv:2202.00512, section 4.
    """
    capped = snr.clamp(max=LARGEST_SNR)
    return 1 + share * (capped + 1) / capped
