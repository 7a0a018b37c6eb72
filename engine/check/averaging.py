"""Does the moving average of the weights average something?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem
from engine.data.steps import StepPlan
from engine.settings.training import TrainingSettings

MOST_OF_THE_BEGINNING = 0.1
"""Share of the initial weights in the average that is worth a word."""


def check_averaging(settings: TrainingSettings, plan: StepPlan | None) -> Iterator[Problem]:
    s, name = settings.averaging, settings.optimizer.optimizer
    if not s.ema:
        return
    if "ScheduleFree" in name:
        yield Problem(
            "ema",
            f"EMA is on, but {name} averages the weights itself, and its average is what is saved.",
            "Turn EMA off, or choose another optimizer.",
        )
    if plan is None:
        return
    if s.ema_every_n_steps > plan.steps:
        yield Problem(
            "ema_every_n_steps",
            f"EMA every N steps is {s.ema_every_n_steps}, but the run has only {plan.steps} steps, so the average "
            "would never be updated.",
            "1 is usual.",
        )
    elif not s.ema_warmup and (left := s.ema_decay**plan.steps) > MOST_OF_THE_BEGINNING:
        yield Problem(
            "ema_decay",
            f"Without EMA warm-up, the average after {plan.steps} steps is still {100 * left:.3g}% the weights that "
            f"the run starts from, because EMA decay is {s.ema_decay:g}.",
            "Turn on EMA warm-up, or lower EMA decay.",
            blocking=False,
        )
