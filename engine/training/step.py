"""What a batch costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from engine.data.batches import MicroBatch
from engine.data.dataset import Latents
from engine.training.conditioning import CaptionConditioning
from engine.training.method import Method
from engine.training.model import Examples, Model
from engine.training.read_ahead import Read


class Step(Protocol):
    def loss_of(self, batch: MicroBatch, read: Read) -> Tensor:
        """A number, with gradients: the mean over the batch's examples, times the batch's share of its step.

        read: what was read of the batch.  Everything random depends on the batch's seed alone.
        """


class PromptStep:
    """Of a method that learns without pictures: each batch is one set of prompts.

    sets: by number, which of the captions are its prompts.
    """

    def __init__(
        self, method: Method, model: Model, conditioning: CaptionConditioning, sets: Sequence[tuple[int, ...]]
    ) -> None:
        self._method, self._model, self._conditioning, self._sets = method, model, conditioning, sets

    def loss_of(self, batch: MicroBatch, read: Read) -> Tensor:
        torch.manual_seed(batch.seed)
        (number,) = batch.pictures
        prompts = replace(batch, pictures=self._sets[number])
        examples = Examples.of_prompts(number, lambda: self._conditioning.of(prompts))
        return self._method.losses(self._model, examples, self._model.objective.corrupt).mean() * batch.weight


class TrainingStep:
    """weights: (pictures,), how much the loss of each counts, on the training device.

    strengths: of a network while each is learned; the same for all of a batch.
    """

    def __init__(
        self,
        method: Method,
        model: Model,
        *,
        latents: Latents,
        conditioning: CaptionConditioning,
        weights: Tensor,
        strengths: Sequence[float] = (),
    ) -> None:
        self._method, self._model = method, model
        self._latents, self._conditioning, self._weights = latents, conditioning, weights
        self._strengths = strengths

    def loss_of(self, batch: MicroBatch, read: Read) -> Tensor:
        torch.manual_seed(batch.seed)
        shown = self._latents.shown(read.pictures)
        batch = replace(batch, pictures=shown.pictures)
        strength = self._strengths[batch.pictures[0]] if self._strengths else 1.0
        examples = Examples.of(self._model, shown, lambda: self._conditioning.of(batch, read.conditioning), strength)
        losses = self._method.losses(self._model, examples, self._model.objective.corrupt)
        return (losses * self._weights[list(batch.pictures)]).mean() * batch.weight
