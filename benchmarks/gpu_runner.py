"""Runs rows one after the other, each in a process of its own, within a time for all of them.

Whatever becomes of a row costs that row alone, and what is known is in files at once: rows.jsonl, a line a row.
The next rows' processes are started ahead and get ready while one measures, so that the GPU waits for no import.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import psutil

Status = Literal["done", "failed", "out of memory", "ended", "not run"]

LONGEST_START = 120.0
"""Seconds in which a process gets ready: the first one reads gigabytes of libraries from a cold disk."""

SPARED = 5.0
"""Seconds of the whole that are left for what comes after the rows."""


@dataclass(frozen=True)
class Task:
    """limit: seconds after which it is ended.  needs: seconds that must be left for it to begin."""

    name: str
    command: list[str]
    limit: float
    needs: float


@dataclass
class Result:
    """figures: all that were told, also by a row that came to no good end.  seconds: that it had the GPU."""

    name: str
    status: Status = "done"
    why: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Budget:
    """Time for all rows together.  clock: seconds, from anywhere."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._until = clock, clock() + 60 * minutes - SPARED

    def left(self) -> float:
        return max(0.0, self._until - self._clock())


def run_rows(
    tasks: Sequence[Task],
    folder: Path,
    budget: Budget,
    told: Callable[[list[Result]], None] = lambda results: None,
    ahead: int = 2,
) -> list[Result]:
    """told: called after every row with the results so far.  ahead: processes that get ready meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    ready: dict[str, Process] = {}
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as lines, (folder / "log.txt").open("ab") as log:
        try:
            for number, task in enumerate(tasks):
                results.append(_run(task, tasks[number + 1 :], ready, budget, log, ahead))
                lines.write(json.dumps(asdict(results[-1])) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
                told(results)
        finally:
            for process in ready.values():
                process.end()
    return results


def _run(
    task: Task, later: Sequence[Task], ready: dict[str, Process], budget: Budget, log: IO[bytes], ahead: int
) -> Result:
    process = ready.pop(task.name, None)
    if budget.left() < task.needs:
        if process:
            process.end()
        return Result(task.name, "not run", "no time was left")
    process = process or Process(task, log)
    for following in [one for one in later if budget.left() - task.needs >= one.needs][:ahead]:
        if following.name not in ready:
            ready[following.name] = Process(following, log)
    try:
        return process.result(budget)
    finally:
        process.end()


class Process:
    """One row's process: it tells figures in lines of JSON, and begins to measure when it is told to."""

    def __init__(self, task: Task, log: IO[bytes]) -> None:
        log.write(f"\n==== {task.name}\n".encode())
        log.flush()
        self._task = task
        self._child = subprocess.Popen(task.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def result(self, budget: Budget) -> Result:
        """Wait until it is ready, let it measure, and gather what it tells."""
        result = Result(self._task.name)
        if not self._gather(result, min(LONGEST_START, budget.left()), "ready", "getting ready"):
            return result
        began = time.monotonic()
        with suppress(OSError):  # it may have died just now, which the next words tell
            stdin = self._child.stdin
            assert stdin is not None
            stdin.write(b"go\n")
            stdin.flush()
        self._gather(result, min(self._task.limit, budget.left()), "done", "measuring")
        result.seconds = time.monotonic() - began
        return result

    def end(self) -> None:
        """With all that it has started."""
        with suppress(psutil.Error):
            for child in psutil.Process(self._child.pid).children(recursive=True):
                with suppress(psutil.Error):
                    child.kill()
        self._child.kill()
        self._child.wait()
        if self._child.stdin:
            with suppress(OSError):
                self._child.stdin.close()

    def _gather(self, result: Result, seconds: float, word: str, doing: str) -> bool:
        """Until it says the word; False where it does not come to that, and why is in the result."""
        until = time.monotonic() + seconds
        while True:
            try:
                said = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                result.status, result.why = "ended", f"still {doing} after {seconds:.0f} s; the log says at what"
                return False
            if said is None:
                if result.status == "done":
                    result.status, result.why = "failed", self._how_it_ended()
                return False
            if said.get(word):
                return True
            if "failed" in said:
                result.status, result.why = said["failed"], said.get("why", "")
            else:
                result.figures |= said

    def _how_it_ended(self) -> str:
        code = self._child.wait()
        if code >= 0:
            return f"its process ended with {code}; the log says why"
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (", for want of main memory, perhaps" if name == "SIGKILL" else "")

    def _read(self) -> None:
        stdout = self._child.stdout
        assert stdout is not None
        for line in stdout:
            with suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict):
                    self._lines.put(said)
        self._lines.put(None)
