"""Learning-rate schedules by the names that the settings give them."""

from __future__ import annotations

from typing import Any

import diffusers.optimization
import transformers.optimization
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from engine.failure import Failure
from engine.settings.optimizer import TORCH_SCHEDULES
from engine.settings.optimizer import Optimizer as OptimizerSettings

STABLE_SHARE = 0.8
"""Of the steps after the warmup, where warmup_stable_decay is not told its num_decay_steps."""


def make_schedule(optimizer: Optimizer, settings: OptimizerSettings, total_steps: int) -> LRScheduler:
    """One schedule for all parameter groups; step it once per optimizer step.

    Raises Failure where the schedule refuses its extra arguments.
    """
    try:
        if not has_given_rates(optimizer):
            return transformers.optimization.AdafactorSchedule(optimizer)
        arguments = settings.schedule_arguments()
        if settings.lr_scheduler_type:
            return _class_named(settings.lr_scheduler_type)(optimizer, **arguments)
        return _by_name(optimizer, settings, total_steps, arguments)
    except (TypeError, ValueError) as error:
        name = settings.lr_scheduler_type or settings.lr_scheduler
        raise Failure(
            f"The schedule {name} cannot be made ({settings.lr_scheduler_args or 'no extra arguments'}): "
            f"{str(error).rstrip('.')}.",
            "Correct LR scheduler extra arguments, or choose another schedule.",
            "lr_scheduler_args",
        ) from error


def has_given_rates(optimizer: Optimizer) -> bool:
    """False for Adafactor where it makes its own."""
    return not optimizer.defaults.get("relative_step")


def learning_rates(optimizer: Optimizer, schedule: LRScheduler) -> list[float]:
    """Of every group in the step that is about to be made."""
    if has_given_rates(optimizer):
        return [float(rate) for rate in schedule.get_last_lr()]
    # Adafactor's rate in step t: min(0.01, 1/√t) times the weights' size (Shazeer & Stern 2018, algorithm 5); its
    # schedule knows it only while gradients are there.
    return [float(rate) for rate in schedule.get_lr()]


def warmup_steps(settings: OptimizerSettings, total_steps: int) -> int:
    """Steps of warmup: the number given, else the percentage of the run, rounded; none for constant."""
    if settings.lr_scheduler == "constant":
        return 0
    return settings.lr_warmup_steps or round(settings.lr_warmup * total_steps / 100)


def _by_name(
    optimizer: Optimizer, settings: OptimizerSettings, total_steps: int, arguments: dict[str, Any]
) -> LRScheduler:
    warmup = warmup_steps(settings, total_steps)
    if settings.lr_scheduler == "piecewise_constant":
        rules = str(arguments.pop("step_rules", "1"))
        return diffusers.optimization.get_piecewise_constant_schedule(optimizer, rules, **arguments)
    if settings.lr_scheduler == "cosine_with_min_lr":
        least = {"min_lr_rate": 0.1} if "min_lr" not in arguments else {}
        return transformers.optimization.get_cosine_with_min_lr_schedule_with_warmup(
            optimizer, warmup, total_steps, **{**least, **arguments}
        )
    if settings.lr_scheduler == "inverse_sqrt":
        return transformers.optimization.get_inverse_sqrt_schedule(optimizer, warmup, **arguments)
    if settings.lr_scheduler == "warmup_stable_decay":
        decay = arguments.pop("num_decay_steps", round((total_steps - warmup) * (1 - STABLE_SHARE)))
        return transformers.optimization.get_wsd_schedule(optimizer, warmup, decay, total_steps, **arguments)
    # The schedule "adafactor" belongs to an optimizer without rates of its own, which was served above.
    name = "constant_with_warmup" if settings.lr_scheduler == "adafactor" else settings.lr_scheduler
    return diffusers.optimization.get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=total_steps,
        num_cycles=settings.lr_scheduler_num_cycles,
        power=settings.lr_scheduler_power,
        **arguments,
    )


def _class_named(name: str) -> Any:
    """A schedule of torch.optim.lr_scheduler by its class's name.

    No other module's: settings files go from hand to hand, and a name must not be able to run anything.
    """
    found = getattr(lr_scheduler, name.removeprefix(TORCH_SCHEDULES), None)
    if not (isinstance(found, type) and issubclass(found, lr_scheduler.LRScheduler)) or name.endswith("OnPlateau"):
        raise ValueError(f"torch has no schedule {name} that goes by steps alone")
    return found
