"""Bulk edits of captions: pure functions of a caption's text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import regex

ADD, TRIGGER, REMOVE = "Add tags", "Prefix a trigger word", "Remove tags"
REPLACE, PATTERN = "Find and replace", "Regular expression"
SORT, DEDUPLICATE = "Sort tags", "Remove duplicate tags"

KINDS = (ADD, TRIGGER, REMOVE, REPLACE, PATTERN, SORT, DEDUPLICATE)

NEED_TEXT = (ADD, TRIGGER, REMOVE, REPLACE, PATTERN)
"""Edits that search for, or insert, a text."""

HAVE_REPLACEMENT = (REPLACE, PATTERN)


PATIENCE = 1.0
"""Seconds that a pattern may take for one caption: some, such as (a+)+b, would take years and block everything else."""


@dataclass(frozen=True)
class Edit:
    """One change.  text: tags, a text to find, or a pattern in Python's syntax.

    replacement: what replaces it, where \\1 stands for the first group of a pattern.
    keep: tags at the front that sorting leaves where they are.  separator: between tags.
    """

    kind: str
    text: str = ""
    replacement: str = ""
    keep: int = 0
    separator: str = ","

    def problem(self) -> str:
        """Why the edit is not possible, as a sentence; empty if it is."""
        if self.kind not in KINDS:
            return f"There is no change {self.kind!r}. Choose one from the list."
        if self.kind in NEED_TEXT and not self.text.strip():
            return "The text is empty. Enter what to add or to look for."
        if self.kind == PATTERN:
            try:
                _same_groups(regex.compile(self.text)).sub(self.replacement, "")
            except (regex.error, IndexError) as error:
                return f"This is not a valid regular expression: {error}. Correct the text or its replacement."
        return ""

    def __call__(self, caption: str) -> str:
        """The edited caption.  Tag edits work line by line, because each line is a caption.

        Raises TimeoutError if a pattern takes too long.
        """
        if self.kind == REPLACE:
            return caption.replace(self.text, self.replacement).strip()
        if self.kind == PATTERN:
            return str(regex.sub(self.text, self.replacement, caption, timeout=PATIENCE)).strip()
        work = self._work_on_tags()

        def worked(line: str) -> str:
            before = _tags(line, self._sign)
            after = work(before)
            return line if after == before else f"{self._sign} ".join(after)

        return "\n".join(worked(line) if line.strip() or not caption.strip() else line for line in caption.split("\n"))

    @property
    def _sign(self) -> str:
        return self.separator.strip() or ","

    def _work_on_tags(self) -> Callable[[list[str]], list[str]]:
        given = _tags(self.text, self._sign)
        folded = {tag.casefold() for tag in given}

        def without(tags: list[str]) -> list[str]:
            return [tag for tag in tags if tag.casefold() not in folded]

        def added(tags: list[str]) -> list[str]:
            there = {tag.casefold() for tag in tags}
            return [*tags, *(tag for tag in given if tag.casefold() not in there)]

        ways: dict[str, Callable[[list[str]], list[str]]] = {
            ADD: added,
            TRIGGER: lambda tags: [*given, *without(tags)],
            REMOVE: without,
            SORT: lambda tags: [*tags[: self.keep], *sorted(tags[self.keep :], key=str.casefold)],
            DEDUPLICATE: _each_once,
        }
        return ways[self.kind]


def _same_groups(pattern: regex.Pattern[str]) -> regex.Pattern[str]:
    """A pattern with the same groups that matches the empty text: a replacement is only validated on a match."""
    names = {number: name for name, number in pattern.groupindex.items()}
    groups = range(1, pattern.groups + 1)
    return regex.compile("".join(f"(?P<{names[number]}>)" if number in names else "()" for number in groups))


def _each_once(tags: list[str]) -> list[str]:
    """The first of equal tags, ignoring case."""
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(tag.casefold(), tag)
    return list(first.values())


def _tags(text: str, sign: str) -> list[str]:
    return [tag for part in text.split(sign) if (tag := part.strip())]
