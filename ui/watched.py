"""Runs as pages watch them: one look is shared by all pages, however many there are."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.runs.folder import RunFolder, Status, runs_root
from engine.runs.history import History
from engine.runs.listing import ENDED, run_named
from ui import run_files, run_view

SHARED_FOR = 0.5
"""Seconds for which a look serves other pages too, unless the run's files have grown."""

READS_FOR = 0.3
"""Seconds that a look itself reads in a long history; after that a thread does, and looks show its progress."""

MOST_WATCHED = 64


@dataclass(frozen=True)
class Look:
    """What a page shows of a run.

    state: what it is compared by, plain JSON: name, version of the history, status, whether a stop was asked for,
    samples, bytes of the log, and what the run is called.  job: which one the run does.
    is_behind: much of what it told is still to be read.  saved: its files that a browser may be given.
    """

    state: list[Any]
    job: str
    status: Status
    stopping: bool
    is_behind: bool
    overview: str
    chart: str
    samples: str
    log: str
    saved: list[Path]

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED and not self.is_behind


class Watched:
    """One run, by its folder.  look() raises OSError if that is gone."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._history = History(run)
        self._lock = threading.Lock()
        self._last: Look | None = None
        self._signs: tuple[int, ...] = ()
        self._taken = 0.0
        self._reading = threading.Thread()

    def look(self) -> Look:
        """Look at the run, or reuse another page's recent look; while one looks, the others get the previous one."""
        last = self._last
        if not self._lock.acquire(blocking=last is None):
            assert last is not None  # otherwise it would have waited
            return last
        try:
            signs = self._signs_now()
            fresh = time.monotonic() - self._taken < SHARED_FOR and signs == self._signs
            if self._last is None or not fresh or self._last.is_behind:
                self._last = self._look(self._last)
                self._signs, self._taken = signs, time.monotonic()
            return self._last
        finally:
            self._lock.release()

    def _look(self, last: Look | None) -> Look:
        history = self._history
        if not self._reading.is_alive():
            history.update(within=READS_FOR)
            if history.is_behind:
                self._reading = threading.Thread(target=history.update, daemon=True, name=f"history of {self.run.name}")
                self._reading.start()
        with history.still():
            drawn = self._drawn(history, last)
        if self.run.is_gone:  # what was drawn came from what was left
            raise FileNotFoundError(self.run.path)
        return drawn

    def _drawn(self, history: History, last: Look | None) -> Look:
        """last: the previous look, whose unchanged parts are reused."""
        status = history.status
        stopping = status in ("running", "starting") and self.run.stop_requested()
        pictures = len(history.samples) + len(history.captioned)
        log_size = self.run.log_file.stat().st_size if self.run.log_file.exists() else 0
        state = [self.run.name, history.version, status, stopping, pictures, log_size, self.run.title]
        before = last.state if last else [None] * len(state)
        return Look(
            state=state,
            job=self.run.job,
            status=status,
            stopping=stopping,
            is_behind=history.is_behind,
            overview=run_view.overview(history, status),
            saved=run_files.downloadable(history),
            chart=last.chart if last and state[1] == before[1] else run_view.chart(history),
            samples=last.samples if last and state[4] == before[4] else run_view.samples(history),
            log=last.log if last and state[5] == before[5] else run_view.log(history),
        )

    def _signs_now(self) -> tuple[int, ...]:
        """Values that change when the run reports something, gets a request, or is started again."""
        path = self.run.path
        sizes = [file.stat().st_size for file in (self.run.log_file, path / "control.jsonl") if file.exists()]
        return path.stat().st_mtime_ns, self.run.events_size(), *sizes


def watched(name: str | None) -> Watched | None:
    """The run with this name, continuing where reading left off; None if there is none or it was deleted."""
    run = run_named(name)
    return _kept(run.name, str(runs_root())) if run else None


@lru_cache(maxsize=MOST_WATCHED)
def _kept(name: str, root: str) -> Watched:
    return Watched(RunFolder(runs_root() / name))
