"""What a batch costs."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.data.batches import MicroBatch
from engine.data.dataset import Latents
from engine.training.conditioning import CaptionConditioning
from engine.training.method import Method
from engine.training.model import Examples, Model
from engine.training.read_ahead import Read


class TrainingStep:
    """weights: (pictures,), how much the loss of each counts, on the training device."""

    def __init__(
        self,
        method: Method,
        model: Model,
        *,
        latents: Latents,
        conditioning: CaptionConditioning,
        weights: Tensor,
    ) -> None:
        self._method, self._model = method, model
        self._latents, self._conditioning, self._weights = latents, conditioning, weights

    def loss_of(self, batch: MicroBatch, read: Read) -> Tensor:
        """A number, with gradients: the mean over the batch's pictures, times the batch's share of its step.

        read: what was read of the batch.  Everything random depends on the batch's seed alone.
        """
        torch.manual_seed(batch.seed)
        shown = self._latents.shown(read.pictures)
        batch = replace(batch, pictures=shown.pictures)
        examples = Examples.of(self._model, shown, lambda: self._conditioning.of(batch, read.conditioning))
        losses = self._method.losses(self._model, examples, self._model.objective.corrupt)
        return (losses * self._weights[list(batch.pictures)]).mean() * batch.weight
