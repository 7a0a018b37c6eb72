"""Can what the settings name be looked for on this machine at all?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem
from engine.settings.option import Option
from engine.settings.paths import mend_unusable, system_of, why_unusable
from engine.settings.training import TrainingSettings, training_options


def check_path(item: Option, text: str) -> Iterator[Problem]:
    """Whether a text can be a path here; whether something lies there, other checks say."""
    if item.widget in ("path", "folder", "file") and (why := why_unusable(text)):
        yield Problem(item.name, f"{item.short_label} {why}.", mend_unusable(text))


def check_paths(settings: TrainingSettings) -> Iterator[Problem]:
    """Every path that the run would follow; one of another family's or method's is no obstacle."""
    values = {**settings.values(), "method": settings.method}
    for item in training_options():
        if item.acts and item.applies(values):
            yield from check_path(item, str(item.value_in(settings)))


def is_elsewhere(settings: TrainingSettings, problem: Problem) -> bool:
    """Whether a problem of check_paths() is that the path belongs to another system, so that nothing lies there."""
    return bool(system_of(str(settings.values()[problem.option])))
