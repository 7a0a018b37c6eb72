"""Reports a job while it runs: events for the page, lines for the log."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from engine.runs.events import Event, EventWriter, LeftOut, Progress, Result, Stage, Warned
from engine.runs.folder import RunFolder
from engine.settings.values import JobSettings

FLUSH_EVERY = 0.5
"""Seconds between two reports of the same kind; more would be too fast to read."""


class Report:
    """Events of one engine process.  Only the first of several processes has a writer."""

    def __init__(self, writer: EventWriter | None) -> None:
        self._writer = writer
        self._flushed = time.monotonic()
        self._stage = ""
        self._began: float | None = None
        self._began_at = 0
        self._waiting_progress: Progress | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the first of its run, or the only one."""
        return self._writer is not None

    def event(self, event: Event) -> None:
        """Write an event now, after any pending ones."""
        self.flush()
        if self._writer:
            self._writer.write(event)

    def flush(self) -> None:
        """Write pending events."""
        self._flushed = time.monotonic()
        waiting, self._waiting_progress = self._waiting_progress, None
        if waiting and self._writer:
            self._writer.write(waiting)
            self._print_progress(waiting)

    def stage(self, name: Any, done: int = 0, total: int = 0, detail: str = "") -> None:
        """What the run is doing now; repeated calls for progress are cheap."""
        now = time.monotonic()
        if name == self._stage and done not in (0, total) and now - self._flushed < FLUSH_EVERY:
            return
        self._flushed = now
        stage = Stage(name=name, done=done, total=total, detail=detail)
        if name != self._stage or detail:
            print(f"{stage.words}{f': {detail}' if detail else ''}", flush=True)
        self._stage = name
        self.event(stage)

    def progress(self, done: int, total: int, unit: str = "pictures", last: str = "") -> None:
        """A utility's progress; the first call starts the clock, and the time left is known from the second on."""
        now = time.monotonic()
        is_first = self._began is None
        if self._began is None:
            self._began, self._began_at = now, done
        seen, passed = done - self._began_at, now - self._began
        rate = seen / passed if seen and passed > 0 else None
        eta = (total - done) / rate if rate else None
        self._waiting_progress = Progress(
            done=done, total=total, unit=unit, per_second=rate, eta=eta, last=_shortened(last)
        )
        if is_first or done == total or now - self._flushed >= FLUSH_EVERY:
            self.flush()

    def left_out(self, file: Path, why: str) -> None:
        """A file that could not be processed."""
        print(f"left out {shown_name(file)}: {why}", flush=True)
        self.event(LeftOut(file=shown_name(file), why=why))

    def result(self, text: str, lines: list[str] | None = None) -> None:
        """The final result; a list of more than MOST_LINES is only complete in the log."""
        lines = lines or []
        print("\n".join([text, *lines]), flush=True)
        more = [f"… and {len(lines) - MOST_LINES} more; see the log for all of them"] if len(lines) > MOST_LINES else []
        self.event(Result(text=text, lines=[_shortened(line) for line in lines[:MOST_LINES]] + more))

    def warn(self, text: str) -> None:
        print(f"warning: {text}", flush=True)
        self.event(Warned(text=text))

    def _print_progress(self, progress: Progress) -> None:
        print(f"{progress.done} of {progress.total} {progress.unit}  {progress.last}".rstrip(), flush=True)


def report_of(writer: EventWriter | None, settings: JobSettings, run: RunFolder) -> Report:
    """The report of a utility."""
    return Report(writer)


MOST_LINES = 200

LONGEST_LINE = 300
"""Characters of a line in an event; a model may say thousands."""


def shown_name(file: Path) -> str:
    """A path as one line of text: bytes that are not UTF-8 become �, and line breaks are written \\n."""
    text = os.fsencode(file).decode("utf-8", "replace")
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)[1:-1]


def _shortened(text: str) -> str:
    whole = " ".join(text.encode("utf-8", "replace").decode().split())
    return whole if len(whole) <= LONGEST_LINE else whole[: LONGEST_LINE - 1] + "…"
