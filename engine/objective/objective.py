"""The protocol of objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Corrupted:
    """noisy: the model's input, (B, C, h, w).  target: what it should predict.

    timesteps: (B,), in [0, 1000]; integers if the model requires that.
    """

    noisy: Tensor
    target: Tensor
    timesteps: Tensor


class TrainingObjective(Protocol):
    """Random numbers only come from torch's generator, so a seed set before corrupt() determines everything."""

    def corrupt(self, latents: Tensor, at: float | None = None) -> Corrupted:
        """Add noise to clean latents (B, C, h, w), at timesteps of its own choice.

        at: in [0, 1), use this timestep for all instead: a fraction of the way from Min to Max Timestep.
        """

    def loss(self, prediction: Tensor, corrupted: Corrupted, mask: Tensor | None = None) -> Tensor:
        """What the prediction costs, by sample: (B,), in float32.  mask: (B, h, w), how much each position counts."""
