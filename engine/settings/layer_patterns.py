"""Regular expressions that pick layers by their names in kohya's files, and ranks and learning rates by them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)

LONGEST = 2000
"""Characters of such a list."""


def patterns_in(label: str, text: str) -> list[re.Pattern[str]]:
    """Separated by commas, or a list as sd-scripts has it: ['.*mlp.*'].  Raises ValueError, a sentence."""
    text = text.strip()
    if not text.startswith("["):
        return [_pattern(label, part) for part in _parts(label, text)]
    try:
        listed = ast.literal_eval(text[:LONGEST])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ValueError(f"{label} begins like a list, but is none. Write it as ['.*mlp.*', '.*attn.*'].")
    return [_pattern(label, one) for one in listed]


def pairs_in(label: str, text: str, number: Callable[[str], Number]) -> list[tuple[re.Pattern[str], Number]]:
    """PATTERN=NUMBER, separated by commas; the first that fits a layer counts.  Raises ValueError, a sentence."""
    pairs = []
    for part in _parts(label, text):
        pattern, found, value = part.rpartition("=")
        try:
            parsed = number(value)
        except ValueError:
            parsed = number("-1")
        if not found or not 0 <= parsed < float("inf"):
            raise ValueError(f'{label} has "{part}". Write PATTERN=NUMBER, such as attn=16, separated by commas.')
        pairs.append((_pattern(label, pattern.strip()), parsed))
    return pairs


def _parts(label: str, text: str) -> list[str]:
    if len(text) > LONGEST:
        raise ValueError(f"{label} has {len(text)} characters; {LONGEST} at most are read.")
    return [part.strip() for part in text.split(",") if part.strip()]


def _pattern(label: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f'{label} has "{text}", which is no regular expression: {error}.') from error
