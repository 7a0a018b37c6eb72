"""Extra arguments as people type them: name=value, with blanks between."""

from __future__ import annotations

import shlex

from engine.settings.secrets import hidden

Value = bool | int | float | str | tuple[float, ...] | None

_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}


def read_arguments(label: str, text: str) -> dict[str, Value]:
    """Numbers, true, false, none, numbers with commas between as tuples, and other text; each may stand in quotes.

    label: the field's, for the sentence with which ValueError says what is wrong.
    """
    try:
        parts = shlex.split(text)
    except ValueError:
        raise ValueError(f"{label}: a quotation mark is missing in {hidden(text)!r}.") from None
    arguments: dict[str, Value] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise ValueError(f"{label}: {hidden(part)!r} does not have the form name=value, such as weight_decay=0.01.")
        arguments[name] = _value(label, name, value.strip("()[]"))
    return arguments


def _value(label: str, name: str, text: str) -> Value:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        numbers = [_number(number) for number in text.split(",") if number.strip()]
    except ValueError:
        return text
    if not numbers:
        raise ValueError(f"{label}: {name} is {text!r}; give it a value.")
    return tuple(numbers) if "," in text else numbers[0]


def _number(text: str) -> int | float:
    text = text.strip()
    return int(text) if text.lstrip("+-").isdecimal() else float(text)
