"""What a prediction costs."""

from __future__ import annotations

from torch import Tensor


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over each sample's elements of (prediction − target)², in float32.

    prediction, target: (B, C, h, w).  Returns (B,).  Source: Ho et al. 2020, arXiv:2006.11239, eq. 14.
    """
    return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))
