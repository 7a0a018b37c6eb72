"""What the training loop asks of an objective, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Corrupted:
    """noisy: what the model is shown, (B, C, h, w).  target: what it should predict.

    timesteps: (B,), in [0, 1000]; whole numbers where the model knows no others.
    """

    noisy: Tensor
    target: Tensor
    timesteps: Tensor


class TrainingObjective(Protocol):
    """Random numbers come from torch's generator alone, so a seed set before corrupt() decides all of it."""

    def corrupt(self, latents: Tensor, at: float | None = None) -> Corrupted:
        """Put noise on clean latents (B, C, h, w), at timesteps of its own choice.

        at: in [0, 1), all at this timestep instead: so far on the way from Min to Max Timestep.
        """

    def loss(self, prediction: Tensor, corrupted: Corrupted, mask: Tensor | None = None) -> Tensor:
        """What the prediction costs, by sample: (B,), in float32.  mask: (B, h, w), what each place of it counts."""
