"""Options that kohya_ss has no field for, in its files: arguments among Additional parameters, which it passes on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from engine.settings.option import Option
from engine.settings.sd_scripts import place_of
from engine.settings.shell_words import arguments_in, quoted, words_from, words_of
from engine.settings.training import training_options

FIELD = "additional_parameters"


@cache
def _ours() -> dict[str, Option]:
    """The options by their arguments."""
    own = (item for item in training_options() if item.ours)
    return {place.name: item for item in own if (place := place_of(item)).kind == "argument"}


def as_arguments(data: Mapping[str, Any]) -> dict[str, Any]:
    """kohya_ss's dictionary with our own options among its Additional parameters too, where they say something.

    Their keys stay: kohya_ss leaves out those that it does not know.
    """
    said = {
        name: data[item.kohya]
        for name, item in _ours().items()
        if item.kohya in data and data[item.kohya] not in (item.default, "", None)
    }
    typed = str(data.get(FIELD) or "").strip()
    line = quoted(words_from(said))
    # Words that belong to no argument stay before the first one, or they would become a part of ours.
    parts = (line, typed) if typed.startswith("--") else (typed, line)
    return {**data, FIELD: " ".join(filter(None, parts))} if said else dict(data)


def as_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same with such arguments under the options' keys, and not among Additional parameters any more.

    Where both stand and differ, the arguments count: kohya_ss followed those.
    """
    typed = data.get(FIELD)
    if not isinstance(typed, str) or not any(f"--{name}" in typed for name in _ours()):
        return dict(data)
    arguments, strays = arguments_in(words_of(typed))
    found = {
        name: _one(value)
        for name, value in arguments.items()
        if name in _ours() and (value is True) == (_ours()[name].kind is bool)
    }
    if not found:
        return dict(data)
    others = {name: value for name, value in arguments.items() if name not in found}
    moved = {_ours()[name].kohya: value for name, value in found.items()}
    return {**data, **moved, FIELD: quoted([*strays, *words_from(others)])}


def _one(value: Any) -> Any:
    """Several words that were meant as one text."""
    return " ".join(value) if isinstance(value, list) else value
