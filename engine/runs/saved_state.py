"""How far a training state on disk has come: what can be said of it without torch.

engine/training/state.py writes and reads the rest of the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.disk import moved_aside, removed
from engine.runs.folder import all_runs

PROGRESS = "progress.json"


@dataclass
class Progress:
    """step: optimizer steps done.  total_steps: of the run that saved it.  seed: of the run."""

    step: int
    total_steps: int
    seed: int
    smoothed_loss: float | None = None


def find_state(folder: Path) -> Path | None:
    """The folder itself, or what a save that was killed had moved out of its way."""
    candidates = (folder, moved_aside(folder))
    return next((place for place in candidates if place and (place / PROGRESS).exists()), None)


def saved_progress(folder: Path) -> Progress | None:
    """None where there is no state, or one whose progress cannot be read."""
    found = find_state(folder)
    if found is None:
        return None
    try:
        return Progress(**json.loads((found / PROGRESS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def tidy_done_runs() -> None:
    """Remove what a kill between a run's final file and its end left of what only resuming needs."""
    for run in all_runs():
        if (find_state(run.state_folder) or run.has_reserve()) and run.status_now() == "done":
            delete_state(run.state_folder)
            run.give_up_reserve()


def delete_state(folder: Path) -> None:
    """A kill meanwhile leaves the state whole, or none.  What is no state stays."""
    while found := find_state(folder):
        removed(found)
