"""Deleting a run: what its folder holds of it, and nothing else, wherever that lies."""

from __future__ import annotations

import shutil
from pathlib import Path

from engine.disk import remove_leftovers
from engine.runs.folder import PARTS, RunFolder, RunIsHeld


def delete(run: RunFolder) -> list[str]:
    """Delete a run that has no engine; returns the names of other things in its folder, with which that stays.

    Somebody may have saved models there. Links are removed, and what they lead to is left alone.
    Raises RunIsHeld where an engine works on the run or is about to, and OSError; the run is gone all the same once
    the first file is.
    """
    if run.is_alive():
        raise RunIsHeld(f"An engine is working on {run.name}.")
    with run.held(patience=0.5):  # so that none begins meanwhile
        remove_leftovers(run.path)
        _remove(run.path / "job.json")  # without it there is no run any more
        for name in PARTS:
            if name != "lock":
                _remove(run.path / name)
    try:
        _remove(run.path / "lock")
        others = sorted(path.name for path in run.path.iterdir())
        if not others and run.path.is_symlink():
            run.path.unlink()
        elif not others:
            run.path.rmdir()
    except FileNotFoundError:  # a second click was quicker
        return []
    return others


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
