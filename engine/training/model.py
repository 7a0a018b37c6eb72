"""The base model as the steps of a run call it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.dataset import Shown
from engine.models.conditioning import Conditioning
from engine.models.family import Family
from engine.models.parts import Parts
from engine.objective.objective import TrainingObjective

Block = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A family's parts with what is attached to them, in the run's number formats and on its devices.

    dtype: of the latents that it gets.  device: where training computes.  autocast, offload: contexts around every
    prediction, for mixed precision and for activations offloaded to main memory until the backward pass.
    """

    family: Family
    parts: Parts
    objective: TrainingObjective
    dtype: torch.dtype
    device: torch.device
    autocast: Block
    offload: Block

    def predict(
        self, noisy: Tensor, timesteps: Tensor, conditioning: Callable[[], Conditioning], sizes: Tensor
    ) -> Tensor:
        """See Family.predict().  conditioning: called under autocast, because trained text encoders compute there."""
        with self.autocast(), self.offload():
            return self.family.predict(
                self.parts, noisy.to(self.dtype), timesteps, conditioning(), sizes.to(self.device)
            )


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a step learns from: pictures of one size, as clean latents, with their conditioning.

    numbers: which ones of all, or which set of prompts, for a method that learns without pictures.
    strength: that a network has meanwhile.
    latents: (B, C, h, w), float32, on the training device.  sizes: (B, 6), see Family.predict().
    mask: (B, h, w) in [0, 1], how much each position counts; None if all count fully.
    conditioning: of the captions, including the extra channels of models that have them.
    """

    latents: Tensor
    sizes: Tensor
    mask: Tensor | None
    conditioning: Callable[[], Conditioning]
    numbers: tuple[int, ...] = ()
    strength: float = 1.0

    @classmethod
    def of(cls, model: Model, shown: Shown, of_captions: Callable[[], Conditioning], strength: float = 1.0) -> Examples:
        latents, extra = model.parts.split_channels(shown.latents.to(model.device, torch.float32))
        return cls(
            latents=latents,
            sizes=shown.sizes,
            mask=shown.mask,
            conditioning=lambda: of_captions() | extra,
            numbers=shown.pictures,
            strength=strength,
        )

    @classmethod
    def of_prompts(cls, number: int, conditioning: Callable[[], Conditioning]) -> Examples:
        """A set of prompts.  conditioning: of all of them, in their order."""
        return cls(
            latents=torch.empty(0), sizes=torch.empty(0, 6), mask=None, conditioning=conditioning, numbers=(number,)
        )
