"""EMA: the moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.settings.averaging import Averaging
from engine.training.optimizers import as_before


def decay_at(step: int, largest: float, warmup: bool) -> float:
    """The share of the average that step `step` (from 1) keeps: `largest`, in warm-up min(largest, (1 + t)/(10 + t)).

    Source of the warm-up: num_updates of TensorFlow's tf.train.ExponentialMovingAverage; Latent Diffusion's EMA has it.
    """
    return min(largest, (1 + step) / (10 + step)) if warmup else largest


class MovingAverage:
    """a ← d·a + (1 - d)·w after every step, for each of the weights w, with d of decay_at(); begins at a = w.

    Updated every n steps, with dⁿ.  It is in float32 whatever the weights are trained in, because at half precision
    changes of 1 - d would be rounded away.  A weight that is no longer trained is averaged like the others.
    Source: Polyak & Juditsky 1992, doi:10.1137/0330046; exponential as in Ho et al. 2020, arXiv:2006.11239.
    """

    def __init__(self, weights: list[nn.Parameter], settings: Averaging) -> None:
        self._weights, self._settings = weights, settings
        self.begin()

    def begin(self) -> None:
        """With the weights as they are now."""
        self._steps = 0
        self._averages = [
            weight.detach().to("cpu" if self._settings.ema_on_cpu else weight.device, torch.float32, copy=True)
            for weight in self._weights
        ]

    @torch.no_grad()
    def after_step(self) -> None:
        self._steps += 1
        every = self._settings.ema_every_n_steps
        if self._steps % every:
            return
        decay = decay_at(self._steps, self._settings.ema_decay, self._settings.ema_warmup) ** every
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.lerp_(weight.to(average), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the weights are the averaged ones."""
        with as_before(self._weights):
            _copy(self._averages, self._weights)
            yield

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "averages": self._averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, RuntimeError or ValueError if it belongs to other weights."""
        self._steps = state["steps"]
        _copy(state["averages"], self._averages)


@torch.no_grad()
def _copy(source: list[Tensor], to: list[Any]) -> None:
    for tensor, other in zip(source, to, strict=True):
        other.copy_(tensor)
