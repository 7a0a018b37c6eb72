"""How far a training state on disk has come: what can be said of it without torch.

engine/training/state.py writes and reads the rest of the folder.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from engine.reading import small_json

PROGRESS = "progress.json"


LARGEST_PROGRESS = 2**16
"""Bytes; it has some hundred."""

Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


@dataclass
class Progress:
    """step: optimizer steps done.  total_steps: of the run that saved it.  seed: of the run."""

    step: Count
    total_steps: Count
    seed: Count
    smoothed_loss: float | None = None


def moved_aside(folder: Path) -> Path:
    """Where a new state moves the old one for the moment in which it takes its place."""
    return folder.with_name(f".{folder.name}.old")


def find_state(folder: Path) -> Path | None:
    """The folder itself, or what a save that was killed had moved out of its way."""
    for candidate in (folder, moved_aside(folder)):
        if (candidate / PROGRESS).exists():
            return candidate
    return None


def saved_progress(folder: Path) -> Progress | None:
    """None where there is no state, or one whose progress cannot be read."""
    found = find_state(folder)
    if found is None:
        return None
    try:
        return read_progress(found)
    except (OSError, ValueError):
        return None


def read_progress(state: Path) -> Progress:
    """Raises OSError, and ValueError where a state's progress is none."""
    return TypeAdapter(Progress).validate_python(small_json(state / PROGRESS, LARGEST_PROGRESS))


def delete_state(folder: Path) -> None:
    for place in (folder, moved_aside(folder)):
        shutil.rmtree(place, ignore_errors=True)
