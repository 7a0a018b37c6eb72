"""Is anything chosen that this version cannot follow?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem
from engine.settings.errors import listed
from engine.settings.option import Option
from engine.settings.training import TrainingSettings, training_options
from engine.settings.values import BadValues

USE = "Use "


def check_choices(settings: TrainingSettings) -> Iterator[Problem]:
    """kohya_ss has choices that wait here, and files hold others: better no run than another one than was asked for."""
    values = {**settings.values(), "method": settings.method}
    yield from _secrets(settings)
    for item in training_options():
        value = item.value_in(settings)
        if not item.applies(values):
            continue
        if item.acts and (why := _unread(item, settings)):
            yield Problem(
                item.name,
                f"{why} The value comes from a loaded file and was kept.",
                "Set it again.",
                fix=f"{USE}{item.value_text(value)}",
            )
        elif item.acts and value in item.not_yet:
            ready = [choice for choice in item.choices if choice not in item.not_yet]
            yield Problem(
                item.name,
                f'"{value}" is not supported yet ({item.not_yet[value]}).',
                f"Choose {ready[0]}." if len(ready) == 1 else f"Choose one of {', '.join(ready)}.",
            )


def _secrets(settings: TrainingSettings) -> Iterator[Problem]:
    _, names = settings.parted_from_secrets()
    if names:
        yield Problem(
            "",
            f"The settings contain secrets, which are not passed to the run: {listed(names)}.",
            "For Hugging Face models that require a token, set the environment variable HF_TOKEN before you start "
            "Darkroom.",
            blocking=False,
        )


def _unread(item: Option, settings: TrainingSettings) -> str:
    """Why the value that a file had for an option could not be taken, until the option is given another one."""
    if item.kohya.key not in settings.kohya_extra or item.value_in(settings) != item.default:
        return ""
    try:
        TrainingSettings().with_values({item.name: settings.kohya_extra[item.kohya.key]})
    except BadValues as error:
        return error.problems[item.name]
    return ""
