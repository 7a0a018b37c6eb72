"""Something wrong, where, and the next move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.data.folders import short
from engine.data.steps import StepPlan

CHOOSE = "Choose "
"""What a fix begins with that gives the option the value that follows."""


@dataclass(frozen=True)
class Problem:
    """option: the name of the option it is about.  what: what is wrong.  mend: the next move.

    blocking: the run does not start.  fix: what the page's button says, where the program can mend it
    itself; mended() does it.
    """

    option: str
    what: str
    mend: str = ""
    blocking: bool = True
    fix: str = ""

    @property
    def sentences(self) -> str:
        """What is wrong, and the next move."""
        return f"{self.what} {self.mend}".strip()

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """problems: in the order of the form.  plan: the steps, where the pictures can be counted."""

    problems: list[Problem]
    plan: StepPlan | None

    @property
    def can_start(self) -> bool:
        return not any(problem.blocking for problem in self.problems)


def mendable(problems: list[Problem]) -> list[Problem]:
    """Those that the program can mend itself, before all those that hinder a start."""
    return sorted((problem for problem in problems if problem.fix), key=lambda problem: not problem.blocking)


def as_problem(option: str, read: Callable[[], object]) -> Iterator[Problem]:
    """The sentence with which a value refuses to be read."""
    try:
        read()
    except ValueError as error:
        yield Problem(option, str(error))


def listed(files: list[Path], most: int = 5) -> str:
    """The first files by folder and name, and how many more there are."""
    more = f" and {len(files) - most} more" if len(files) > most else ""
    return ", ".join(f'"{short(file)}"' for file in files[:most]) + more


def counted(number: int, one: str, more: str) -> str:
    """ "1 picture has", "3 pictures have"."""
    return f"{number} {one if number == 1 else more}"
