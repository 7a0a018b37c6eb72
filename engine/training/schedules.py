"""Learning-rate schedules by their names in the settings."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers.optimization
import torch
import transformers.optimization
from torch.optim import SGD, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from engine.failure import Failure
from engine.settings.optimizer import SCHEDULE_FREE, TORCH_SCHEDULES
from engine.settings.optimizer import Optimizer as OptimizerSettings

LEAST_RATE_OF_POLYNOMIAL = 1e-7
"""If lr_end is not given, as in transformers."""

LEAST_SHARE = 0.1
"""Share of the rate, if cosine_with_min_lr gets neither min_lr nor min_lr_rate."""


def make_schedule(optimizer: Optimizer, settings: OptimizerSettings, total_steps: int) -> LRScheduler:
    """One schedule for all parameter groups; step it once per optimizer step.

    Schedule-free optimizers keep their rate whatever is chosen, as in sd-scripts: their running mean of the weights
    replaces the decay (Defazio et al. 2024, arXiv:2405.15682).  Raises Failure if the schedule rejects its extra
    arguments.
    """
    try:
        if not has_given_rates(optimizer):
            return transformers.optimization.AdafactorSchedule(optimizer)
        if settings.optimizer.lower().endswith(SCHEDULE_FREE):
            return transformers.optimization.get_constant_schedule(optimizer)
        arguments = settings.schedule_arguments()
        if settings.lr_scheduler_type:
            return _class_named(settings.lr_scheduler_type)(optimizer, **arguments)
        return _by_name(optimizer, settings, total_steps, arguments)
    except (TypeError, ValueError) as error:
        name = settings.lr_scheduler_type or settings.lr_scheduler
        raise Failure(
            f"The schedule {name} cannot be used ({settings.lr_scheduler_args or 'no extra arguments'}): "
            f"{str(error).rstrip('.')}.",
            "Correct LR scheduler extra arguments, or choose another schedule.",
            "lr_scheduler_args",
        ) from error


def has_given_rates(optimizer: Optimizer) -> bool:
    """False for Adafactor if it sets its own rates."""
    return not optimizer.defaults.get("relative_step")


def learning_rates(optimizer: Optimizer, schedule: LRScheduler) -> list[float]:
    """Of every group, for the next step."""
    if has_given_rates(optimizer):
        return [float(rate) for rate in schedule.get_last_lr()]
    # Adafactor's rate in step t: min(0.01, 1/√t) times the weights' size (Shazeer & Stern 2018, algorithm 5); its
    # schedule only knows it once there was a step, and of groups that have gradients.
    return [_own_rate(schedule.optimizer, group) for group in schedule.optimizer.param_groups]


def _own_rate(adafactor: Any, group: dict[str, Any]) -> float:
    first = group["params"][0]
    size = first.detach().float().square().mean().sqrt()
    of_step = {"step": adafactor.state.get(first, {}).get("step", 0) + 1, "RMS": float(size)}
    return float(adafactor._get_lr(group, of_step))


def warmup_steps(settings: OptimizerSettings, total_steps: int) -> int:
    """Steps of warmup: the number given, else the whole steps in the percentage of the run; none for constant.

    The product is rounded down as in sd-scripts: 3 of 70 steps at 5 %, 28 of 100 at 29 %.
    """
    if settings.lr_scheduler == "constant":
        return 0
    return settings.lr_warmup_steps or int(settings.lr_warmup / 100 * total_steps)


def _decay_steps(settings: OptimizerSettings, total_steps: int) -> int:
    """Number of decay steps at the end: a count, or a share if below 1, rounded down as in sd-scripts."""
    asked = settings.lr_decay_steps
    return int(asked * total_steps) if asked < 1 else int(asked)


def restore(schedule: LRScheduler, state: dict[str, Any]) -> None:
    """Restore a schedule's state_dict(); call restore_rates() afterwards.

    From a state that another kind of schedule wrote, such as a torch class that a schedule-free optimizer once used,
    only the step is taken, if this schedule knows a step's rate without the earlier ones.
    """
    if type(schedule) is LambdaLR and "lr_lambdas" not in state:
        schedule.last_epoch = state["last_epoch"]
    else:
        schedule.load_state_dict(state)


def restore_rates(schedule: LRScheduler) -> None:
    """Give the optimizer the schedule's rates for the next step, after both have been restored from a state.

    The state's own rates are those of the schedule that wrote it, which may have been shorter: a cosine that had ended
    left a rate of 0.  Only for schedules that know a step's rate without the earlier ones.
    """
    if type(schedule) is not LambdaLR:  # Adafactor's own schedule is of a different kind
        return
    factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
    rates = [base * factor for base, factor in zip(schedule.base_lrs, factors, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates


def _by_name(
    optimizer: Optimizer, settings: OptimizerSettings, total_steps: int, arguments: dict[str, Any]
) -> LRScheduler:
    """The extra arguments override the settings."""
    # The schedule "adafactor" belongs to an optimizer without rates of its own, which was served above.
    name = "constant_with_warmup" if settings.lr_scheduler == "adafactor" else settings.lr_scheduler
    make = _makers().get(name)
    warmup = {"num_warmup_steps": warmup_steps(settings, total_steps)}
    run = {**warmup, "num_training_steps": total_steps}
    half_waves = {"num_cycles": settings.lr_scheduler_num_cycles / 2}
    if make is None:
        rules = str(arguments.pop("step_rules", "1"))
        return diffusers.optimization.get_piecewise_constant_schedule(optimizer, rules, **arguments)
    timescale, least = settings.lr_scheduler_timescale, settings.lr_scheduler_min_lr_ratio
    of_name: dict[str, dict[str, Any]] = {
        "constant": {},
        "constant_with_warmup": warmup,
        "inverse_sqrt": warmup | ({"timescale": timescale} if timescale else {}),
        "cosine_with_restarts": run | {"num_cycles": settings.lr_scheduler_num_cycles},
        "polynomial": run | {"power": settings.lr_scheduler_power},
        "cosine_with_min_lr": run | half_waves,
        "warmup_stable_decay": run
        | half_waves
        | {"num_decay_steps": _decay_steps(settings, total_steps), "min_lr_ratio": least},
    }
    told = {**of_name.get(name, run), **arguments}
    if name == "polynomial":
        return _with_floors(optimizer, partial(make, **told), "lr_end", told.get("lr_end"))
    if name == "cosine_with_min_lr" and told.get("min_lr") is not None:
        return _with_floors(optimizer, partial(make, **told), "min_lr", told["min_lr"])
    if name == "cosine_with_min_lr":
        told = {"min_lr_rate": least or LEAST_SHARE, **told}
    made: LRScheduler = make(optimizer, **told)
    return made


def _with_floors(optimizer: Optimizer, make: partial[LambdaLR], name: str, floor: Any) -> LRScheduler:
    """A schedule in which every group falls to the same rate, each by its own factor.

    transformers computes the floor's share from one rate and applies it to those of all groups.  A group whose rate is
    not above the floor keeps it, after the same warmup.
    floor: under the name that `make` uses; None for its default.  Raises ValueError if no group could fall.
    """
    highest = max(float(group["lr"]) for group in optimizer.param_groups)
    if floor is not None and not 0 <= floor < highest:
        raise ValueError(f"{name} is {floor:g}, which is not below the learning rate {highest:g}")
    factors = []
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        least = floor if floor is not None else LEAST_RATE_OF_POLYNOMIAL * (rate > LEAST_RATE_OF_POLYNOMIAL)
        alone = SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        made = (
            make(alone, **{name: least})
            if least < rate
            else transformers.optimization.get_constant_schedule_with_warmup(alone, make.keywords["num_warmup_steps"])
        )
        factors.append(made.lr_lambdas[0])
    return LambdaLR(optimizer, factors)


def _makers() -> dict[str, Any]:
    """transformers' schedules by name; sd-scripts uses the same names."""
    return {kind.value: make for kind, make in transformers.optimization.TYPE_TO_SCHEDULER_FUNCTION.items()}


def _class_named(name: str) -> Any:
    """A schedule of torch.optim.lr_scheduler by its class's name.

    From no other module: settings files are shared, and a name must not be able to run anything.
    """
    found = getattr(lr_scheduler, name.removeprefix(TORCH_SCHEDULES), None)
    if not (isinstance(found, type) and issubclass(found, lr_scheduler.LRScheduler)) or name.endswith("OnPlateau"):
        raise ValueError(f"torch has no schedule {name} that depends on steps alone")
    return found
