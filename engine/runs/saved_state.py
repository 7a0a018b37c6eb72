"""Which step a training state on disk has reached: what is known without torch.

engine/training/state.py writes and reads the rest of the folder.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from engine.disk import moved_aside, removed
from engine.reading import small_json
from engine.runs.folder import all_runs

PROGRESS = "progress.json"


LARGEST_PROGRESS = 2**16
"""Bytes; the file has some hundred."""

Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


@dataclass
class Progress:
    """step: optimizer steps done.  total_steps: of the run that saved it.  seed: of the run."""

    step: Count
    total_steps: Count
    seed: Count
    smoothed_loss: float | None = None


def find_state(folder: Path) -> Path | None:
    """The folder itself, or the old one that a killed save had moved aside."""
    candidates = (folder, moved_aside(folder))
    return next((place for place in candidates if place and (place / PROGRESS).exists()), None)


def saved_progress(folder: Path) -> Progress | None:
    """None if there is no state, or its progress cannot be read."""
    found = find_state(folder)
    if found is None:
        return None
    try:
        return read_progress(found)
    except (OSError, ValueError):
        return None


def tidy_done_runs() -> None:
    """Remove what is only needed for resuming, if a kill between a run's final file and its end left it.

    What belongs to another user, or is open in another program, stays: it does no harm.
    """
    for run in all_runs():
        with suppress(OSError):
            if (find_state(run.state_folder) or run.has_reserve()) and run.status_now() == "done":
                delete_state(run.state_folder)
                run.give_up_reserve()


def read_progress(state: Path) -> Progress:
    """Raises OSError, and ValueError if a state's progress is invalid."""
    return TypeAdapter(Progress).validate_python(small_json(state / PROGRESS, LARGEST_PROGRESS))


def delete_state(folder: Path) -> None:
    """A kill meanwhile leaves the state complete or gone.  Anything that is not a state stays."""
    while found := find_state(folder):
        removed(found)
