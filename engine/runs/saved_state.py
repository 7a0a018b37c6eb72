"""How far a training state on disk has come: what can be said of it without torch.

engine/training/state.py writes and reads the rest of the folder.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

PROGRESS = "progress.json"


@dataclass
class Progress:
    """step: optimizer steps done.  total_steps: of the run that saved it.  seed: of the run."""

    step: int
    total_steps: int
    seed: int
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
        return Progress(**json.loads((found / PROGRESS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def delete_state(folder: Path) -> None:
    for place in (folder, moved_aside(folder)):
        shutil.rmtree(place, ignore_errors=True)
