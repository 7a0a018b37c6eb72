"""What goes wrong with settings files."""

from __future__ import annotations

from collections.abc import Sequence


class SettingsFileError(ValueError):
    """A file cannot be read or written as settings; the message is one sentence for people."""


MOST_LISTED = 20


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
