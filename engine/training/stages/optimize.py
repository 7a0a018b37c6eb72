"""Sixth stage: how gradients become new weights, and restoring that from a state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from engine.training.hardware import allow_half_gradients
from engine.training.method import Method, names, parameters
from engine.training.moving_average import MovingAverage
from engine.training.optimizers import make_optimizer, resting_weights
from engine.training.results import Results, results_of
from engine.training.schedules import has_given_rates, learning_rates, make_schedule, restore, restore_rates
from engine.training.stages.begin import Begun
from engine.training.state import SavedState, foreign
from engine.training.updates import AllAtOnce, Fused, Updates


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """updates: finish a step.  names: of the optimizer's groups.  scaler: of gradients under fp16, else None.

    average: of the weights, if one is kept.  results: which of the two are shown and saved.
    """

    optimizer: Optimizer
    schedule: LRScheduler
    updates: Updates
    names: list[str]
    scaler: Any
    average: MovingAverage | None
    results: Results

    def learning_rates(self) -> dict[str, float]:
        """Of every group, for the next step."""
        return dict(zip(self.names, learning_rates(self.optimizer, self.schedule), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimizer, schedule, scaler and average."""
        return {name: owner.state_dict() for name, owner in self._owners.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, RuntimeError or ValueError if it belongs to different ones."""
        for name, owner in self._owners.items():
            if name == "schedule" and name in state:
                restore(owner, state[name])
            elif name in state:
                owner.load_state_dict(state[name])
        restore_rates(self.schedule)

    @property
    def _owners(self) -> dict[str, Any]:
        owners = {"optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler,
                  "average": self.average}  # fmt: skip
        return {name: owner for name, owner in owners.items() if owner is not None}


def optimize(begun: Begun, method: Method, *, total_steps: int, saved: SavedState | None) -> Optimized:
    """Create them, and restore them and the method from a state.  Raises Failure."""
    settings, accelerator = begun.settings.optimizer, begun.accelerator
    prepared = accelerator.prepare(make_optimizer(method.parameter_groups(), settings))
    optimizer = prepared.optimizer
    if begun.precision.learned == torch.float16:
        allow_half_gradients(accelerator.scaler)
    schedule = make_schedule(optimizer, settings, total_steps)
    updates: Updates = (
        Fused(optimizer, settings.max_grad_norm)
        if begun.settings.is_fused()
        else AllAtOnce(prepared, parameters(method), settings.max_grad_norm, accelerator, ready=method.before_update)
    )
    averaging = begun.settings.averaging
    average = MovingAverage(parameters(method), averaging) if averaging.ema else None
    optimized = Optimized(
        optimizer=optimizer,
        schedule=schedule,
        updates=updates,
        names=names(method),
        scaler=accelerator.scaler,
        average=average,
        results=results_of(partial(resting_weights, optimizer), average, averaging),
    )
    if saved:
        _restore(saved, method, optimized)
        if average and "average" not in saved.optimizer:
            average.begin()
            begun.report.warn("The saved state has no EMA weights, so the average begins at its trained weights.")
        begun.report.resume(saved.progress.smoothed_loss)
        wanted = [group["lr"] for group in method.parameter_groups()]
        if has_given_rates(optimizer) and schedule.base_lrs != wanted:
            begun.report.warn("The learning rates continue from the saved state; those in the settings are not used.")
    return optimized


def _restore(saved: SavedState, method: Method, optimized: Optimized) -> None:
    try:
        method.load_state_dict(saved.weights)
        optimized.load_state_dict(saved.optimizer)
    except (KeyError, RuntimeError, ValueError) as error:
        raise foreign() from error
