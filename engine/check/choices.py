"""Is anything chosen that this version cannot follow?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem
from engine.settings.training import TrainingSettings, training_options


def check_choices(settings: TrainingSettings) -> Iterator[Problem]:
    """kohya_ss has choices that wait here: better no run than another one than was asked for."""
    for item in training_options():
        value = item.value_in(settings)
        if item.acts and value in item.not_yet:
            ready = [choice for choice in item.choices if choice not in item.not_yet]
            yield Problem(
                item.name,
                f'"{value}" waits for {item.not_yet[value]}, which this version does not have.',
                f"Choose {ready[0]}." if len(ready) == 1 else f"Choose one of {', '.join(ready)}.",
            )
