"""What a prediction costs, element by element, and the mean of it."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from engine.settings.objective import LossType


def of_type(kind: LossType, prediction: Tensor, target: Tensor, threshold: Callable[[], Tensor]) -> Tensor:
    """The loss function of a name, element by element.  threshold: returns δ, (B,), for those that have one."""
    if kind == "l2":
        return squared_error(prediction, target)
    if kind == "l1":
        return absolute_error(prediction, target)
    robust = pseudo_huber if kind == "huber" else smooth_l1
    return robust(prediction, target, threshold())


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction − target)².  All (B, C, h, w).  Source: Ho et al. 2020, arXiv:2006.11239, eq. 14."""
    return (prediction - target).square()


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction − target|.  All (B, C, h, w)."""
    return (prediction - target).abs()


def pseudo_huber(prediction: Tensor, target: Tensor, threshold: Tensor) -> Tensor:
    """2δ(√(x² + δ²) − δ): about x² for errors below δ, about 2δ|x| above.

    prediction, target: (B, C, h, w).  threshold: δ, (B,).  Returns (B, C, h, w).
    Source: Khrapov et al. 2024, arXiv:2403.16728.
    """
    delta = threshold.view(-1, 1, 1, 1)
    return 2 * delta * (((prediction - target).square() + delta**2).sqrt() - delta)


def smooth_l1(prediction: Tensor, target: Tensor, threshold: Tensor) -> Tensor:
    """2(√(x² + δ²) − δ): pseudo_huber() divided by δ, so that large errors weigh the same at every δ."""
    delta = threshold.view(-1, 1, 1, 1)
    return 2 * (((prediction - target).square() + delta**2).sqrt() - delta)


def constant_threshold(timesteps: Tensor, c: float, scale: float) -> Tensor:
    """δ = c · scale at every timestep.  timesteps: (B,).  Returns (B,)."""
    return (timesteps.float() * 0 + 1) * c * scale


def exponential_threshold(timesteps: Tensor, total: int, c: float, scale: float) -> Tensor:
    """δ(t) = exp(ln(c) · t / T) · scale: from scale without noise down to c · scale.

    timesteps: (B,).  total: T.  Returns (B,).
    """
    return (math.log(c) * timesteps.float() / total).exp() * scale


def snr_threshold(snr: Tensor, c: float) -> Tensor:
    """δ = (1 − c) / (1 + σ)² + c, with σ = 1/√SNR.  snr: (B,).  Returns (B,) in (c, 1]."""
    return (1 - c) / (1 + snr.rsqrt()).square() + c


def mean_by_sample(elements: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, C, h, w) → (B,).  mask: (B, h, w) in [0, 1], how much each position counts.

    The mean is over all positions, including those that do not count, as in sd-scripts.
    """
    return (elements if mask is None else elements * mask[:, None].to(elements)).mean(dim=(1, 2, 3))
