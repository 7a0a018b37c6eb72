"""Which runs there are and which are active, even with thousands: an ended run is examined only once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from engine.runs.folder import RunFolder, Status, all_runs, runs_root

ENDED: tuple[Status, ...] = ("done", "stopped", "failed", "died")

SETTLED = 2.0
"""Seconds after a change in a run's folder after which another change gets a different time, on any file system."""

_Signs = tuple[int, int, int]
_ended: dict[Path, tuple[_Signs, Status | None]] = {}
"""Runs without an engine, with the signs that reveal another start, and how they ended, if somebody asked."""


def run_named(name: str | None) -> RunFolder | None:
    """The run with this name; None if there is none, or no longer."""
    if not name or Path(name).name != name or name == ".." or "\0" in name:
        return None
    run = RunFolder(runs_root() / name)
    return None if run.is_gone else run


def living() -> Iterator[RunFolder]:
    """The runs that an engine is working on, or about to, newest first."""
    there = list(all_runs())
    names = {run.path for run in there}
    for gone in [path for path in list(_ended) if path not in names]:  # other threads may add some in the meantime
        _ended.pop(gone, None)
    return (run for run in there if not _has_ended(run))


def status_of(run: RunFolder) -> Status:
    """A run's status, from its last event."""
    signs = _signs(run)
    known = _ended.get(run.path)
    if known and known[0] == signs and known[1]:
        return known[1]
    status = run.status_now()
    if status in ENDED:
        _remember(run, signs, status)
    return status


def _has_ended(run: RunFolder) -> bool:
    signs = _signs(run)
    known = _ended.get(run.path)
    if known and known[0] == signs:
        return True
    if run.is_alive():
        return False
    _remember(run, signs, None)
    return True


def _signs(run: RunFolder) -> _Signs:
    """What changes whenever an engine is started on a run: a file in its folder is rewritten, and it beats."""
    return _changed(run.path), _changed(run.path / "heartbeat"), run.events_size()


def _changed(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _remember(run: RunFolder, signs: _Signs, status: Status | None) -> None:
    """signs: as they were before the run was examined."""
    if max(signs[:2]) / 1e9 < time.time() - SETTLED:
        _ended[run.path] = signs, status
