"""Regular expressions that pick layers by their names in kohya's files, and ranks and learning rates by them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import regex

_COMMAS = regex.compile(r",(?![^{[]*[}\]])")
"""Those that are not within the braces or brackets of a pattern."""

Number = TypeVar("Number", int, float)

LONGEST = 2000
"""Characters of such a list."""

LARGEST_RANK = 100_000

PATIENCE = 0.2
"""Seconds to look for a pattern in one name.  Honest ones take microseconds; hostile ones would take years."""


@dataclass(frozen=True)
class Pattern:
    """label: of the option that it stands in."""

    label: str
    text: str
    compiled: Any

    def is_in(self, name: str) -> bool:
        """Raises ValueError, a sentence, where looking takes too long."""
        return self._found(self.compiled.search, name)

    def begins(self, name: str) -> bool:
        """The same for its beginning."""
        return self._found(self.compiled.match, name)

    def _found(self, look: Callable[..., Any], name: str) -> bool:
        try:
            return look(name, timeout=PATIENCE) is not None
        except TimeoutError:
            raise ValueError(f'{self.label} has "{self.text}", which takes too long. Simplify it.') from None


def patterns_in(label: str, text: str) -> list[Pattern]:
    """Separated by commas, or a list as sd-scripts has it: ['.*mlp.*'].  Raises ValueError, a sentence."""
    text = text.strip()
    if not text.startswith("["):
        return [pattern_of(label, part) for part in _parts(label, text)]
    try:
        listed = ast.literal_eval(text[:LONGEST])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ValueError(f"{label} begins like a list, but is none. Write it as ['.*mlp.*', '.*attn.*'].")
    return [pattern_of(label, one) for one in listed]


def pairs_in(label: str, text: str, number: Callable[[str], Number]) -> list[tuple[Pattern, Number]]:
    """PATTERN=NUMBER, separated by commas; the first that fits a layer counts.  Raises ValueError, a sentence."""
    pairs = []
    for part in _parts(label, text):
        pattern, found, value = part.rpartition("=")
        try:
            parsed = number(value)
        except (ValueError, OverflowError):
            parsed = number("-1")
        if not found or not 0 <= parsed <= LARGEST_RANK:
            raise ValueError(f'{label} has "{part}". Write PATTERN=NUMBER, such as attn=16, separated by commas.')
        pairs.append((pattern_of(label, pattern.strip()), parsed))
    return pairs


def _parts(label: str, text: str) -> list[str]:
    if len(text) > LONGEST:
        raise ValueError(f"{label} has {len(text)} characters; {LONGEST} at most are read.")
    return [part.strip() for part in _COMMAS.split(text) if part.strip()]


def pattern_of(label: str, text: str, expression: str = "") -> Pattern:
    """expression: what is looked for, if it is not the text.  Raises ValueError, a sentence."""
    try:
        return Pattern(label, text, regex.compile(expression or text))
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(f'{label} has "{text[:100]}", which is no regular expression: {error}.') from error
