"""From gradients to new weights: all at once after the backward pass, or each as soon as it can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from engine.training.hardware import average_gradients


class Updates(Protocol):
    def finish(self) -> Tensor:
        """Called after the last backward pass of a step: afterwards every weight is updated and no gradient is left.

        Returns the gradients' norm before clipping.
        """


class AllAtOnce:
    """largest_norm: all gradients together are clipped to it; 0 for no clipping.  ready: called then."""

    def __init__(
        self,
        optimizer: Any,
        learned: list[nn.Parameter],
        largest_norm: float,
        accelerator: Accelerator,
        *,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._optimizer, self._learned, self._accelerator = optimizer, learned, accelerator
        self._largest_norm, self._ready = largest_norm or math.inf, ready

    def finish(self) -> Tensor:
        average_gradients(self._learned, self._accelerator)
        norm: Tensor = self._accelerator.clip_grad_norm_(self._learned, self._largest_norm)
        self._ready()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm


class Fused:
    """Each weight is updated during the backward pass and its gradient freed: they are never all in memory.

    Each gradient is clipped separately, because the total norm is not known yet.  For one backward pass per step.
    Lv et al. 2023, Full Parameter Fine-tuning for Large Language Models with Limited Resources, arXiv:2306.09782.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, largest_norm: float) -> None:
        self._optimizer, self._largest_norm = optimizer, largest_norm or math.inf
        self._squares: list[Tensor] = []
        # By position: an optimizer restored from a state has new groups there.
        for place, group in enumerate(optimizer.param_groups):
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(partial(self._update, place))

    def finish(self) -> Tensor:
        norm = torch.stack(self._squares).sum().sqrt()
        self._squares.clear()
        return norm

    def _update(self, place: int, parameter: Tensor) -> None:
        norm = nn.utils.clip_grad_norm_(parameter, self._largest_norm)
        self._squares.append(norm.detach().float().square())
        groups = self._optimizer.param_groups
        all_parameters = [each["params"] for each in groups]
        for number, each in enumerate(groups):
            each["params"] = [parameter] if number == place else []
        try:
            self._optimizer.step()
        finally:
            for each, parameters in zip(groups, all_parameters, strict=True):
                each["params"] = parameters
        parameter.grad = None
