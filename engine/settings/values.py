"""Settings of a job: reading values as forms, files and command lines give them, and refusing them in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ValidationError
from typing_extensions import Self

from engine.failure import Failure
from engine.settings.hardware import Hardware
from engine.settings.option import Group, Option, options_of
from engine.settings.secrets import (
    ARGUMENT_FIELDS,
    HIDDEN,
    arguments_without_secrets,
    hidden,
    tokens_hidden,
    without_secrets,
)

MOST_CHOICES_SHOWN = 12
"""In a sentence; the page and docs/options.md list all."""


class JobSettings(Group):
    """Everything that one job is told."""

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """What the settings declare, in order."""
        return _options(cls)

    def values(self) -> dict[str, Any]:
        """Every option's value by its name."""
        return {item.name: item.value_in(self) for item in self.options()}

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A copy with some options set.

        Raises BadValues with one sentence for each value that its option does not allow, and KeyError
        for a name that is no option.
        """
        known = {item.name: item for item in self.options()}
        return self._with({name: _read(known[name], value) for name, value in values.items()}, known)

    def with_typed(self, values: Mapping[str, Any]) -> Self:
        """As with_values(), for values typed into fields: a number whose field was emptied is refused like a wrong one.

        Where the default is 0, which as a rule switches an option off, an empty field means that.
        """
        known = {item.name: item for item in self.options()}
        read = {name: None if _is_emptied(known[name], v) else _read(known[name], v) for name, v in values.items()}
        return self._with(read, known)

    def _with(self, values: Mapping[str, Any], known: Mapping[str, Option]) -> Self:
        tree = self.model_dump()
        for name, value in values.items():
            place = tree
            for part in known[name].path[:-1]:
                place = place[part]
            place[name] = value
        try:
            return type(self).model_validate(tree)
        except ValidationError as error:
            raise BadValues({str(e["loc"][-1]): e["input"] for e in error.errors()}, known) from None

    def parted_from_secrets(self) -> tuple[Self, list[str]]:
        """(A copy that may be written, the names of what it lacks).  Whoever writes settings anywhere asks for it."""
        own = self.values()
        cleaned = {item.name: writable(item, own[item.name]) for item in self.options()}
        changed = {name: value for name, (value, _) in cleaned.items() if value != own[name]}
        return self.with_values(changed), [name for _, names in cleaned.values() for name in names]

    def machine(self) -> Hardware:
        """What the job computes on: one process with every core, unless the settings have a say in it."""
        return Hardware(num_cpu_threads_per_process=psutil.cpu_count(logical=False) or 1)

    def title(self) -> str:
        """What the run is called, behind the time."""
        return ""

    @classmethod
    def for_pictures(cls, folder: Path, regularisation: str = "") -> dict[str, str]:
        """Values, by option, with which to begin on pictures that are in hand; none where the job is not about such.

        regularisation: a folder of those, where there is one.
        """
        return {}

    def to_train_on(self) -> dict[str, str]:
        """Values, by option of training, that have a run learn from what this job has made; none where it makes none.

        What they leave out stays as it is.
        """
        return {}

    def failures(self) -> Iterator[Failure]:
        """What only this job knows to be wrong before it starts, beyond its options' types, bounds and `must_be`."""
        yield from ()


class BadValues(ValueError):
    """Some values are not allowed.  problems: one sentence for people by option name."""

    def __init__(self, given: Mapping[str, Any], known: Mapping[str, Option]) -> None:
        self.problems = {name: _sentence(known[name], value) for name, value in given.items() if name in known}
        super().__init__(" ".join(self.problems.values()))


def writable(item: Option, value: Any) -> tuple[Any, list[str]]:
    """(An option's value as files, logs and browsers may hold it, the names of the secrets that it lacks then)."""
    if item.widget == "secret":
        return item.default, [item.label] if value != item.default else []
    is_text = item.kind is str and not item.choices and item.widget not in ("path", "folder", "file")
    if item.name in ARGUMENT_FIELDS:
        kept, names = arguments_without_secrets(str(value))
    elif is_text and isinstance(value, str):
        kept, names = tokens_hidden(value), []  # it may be trained on: "token=sks" is no secret there
    else:
        return value, []
    return kept, names or ([item.label] if kept != str(value) else [])


@cache
def _options(settings_class: type[BaseModel]) -> tuple[Option, ...]:
    return tuple(options_of(settings_class))


def _read(item: Option, value: Any) -> Any:
    """A value as files, forms and the command line give it, in the option's own type where that is plain.

    None, and empty text where a number or switch is meant, are kohya's ways of saying nothing.
    """
    if value is None:
        return item.default
    if isinstance(value, str):
        return _read_text(item, value)
    if item.kind is str and isinstance(value, bool | int | float) and (item.choices or not isinstance(value, bool)):
        whole = isinstance(value, float) and value.is_integer()
        return _read_text(item, str(int(value) if whole else value))
    return value


def _is_emptied(item: Option, value: Any) -> bool:
    is_empty = value is None or (isinstance(value, str) and not value.strip())
    return is_empty and item.kind in (int, float) and not item.choices and item.default != 0


def _read_text(item: Option, text: str) -> Any:
    if item.choices:
        known = {choice.lower(): choice for choice in item.choices}
        return known.get(text.strip().lower(), text if text.strip() else item.default)
    if item.kind is str:
        return text
    if not text.strip():
        return item.default
    return _whole_number(text) if item.kind is int else text.strip()


def _whole_number(text: str) -> Any:
    """ "1e3" and "64.0" are whole numbers too; other text is left as it is."""
    try:
        number = float(text)
        return int(text) if text.strip().isdecimal() else int(number) if number.is_integer() else text
    except (ValueError, OverflowError):
        return text


def _sentence(item: Option, value: Any) -> str:
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    shown = HIDDEN if item.widget == "secret" else hidden(repr(without_secrets(value)[0]))
    shown = "empty" if value is None else shown if len(shown) <= 80 else shown[:77] + "…"
    expected = item.range_text()
    wanted = expected if item.choices else " ".join(filter(None, [kinds[item.kind], expected and f"({expected})"]))
    if len(item.choices) > MOST_CHOICES_SHOWN:
        similar = get_close_matches(str(value), item.choices, n=3, cutoff=0.4) or item.choices[:3]
        wanted = f"one of {len(item.choices)} choices, such as {', '.join(similar)}"
    return f"{item.label} is {shown}; it takes {wanted}."
