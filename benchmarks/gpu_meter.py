"""Seconds, memory and matrix work of training steps, measured alike in the engine and in a bare loop.

GPU work is asynchronous: steps are timed by events on the GPU's own clock, and nothing waits for one in between.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from engine.failure import Stopped
from engine.runs.events import EventWriter
from engine.training.report import Report

COUNTED, WARM = 2, 3
"""The step whose matrix work is counted, and the last one before the time is taken."""

Tell = Callable[[dict[str, Any]], None]


class MatrixWork(TorchDispatchMode):
    """operations: multiplications and additions of all matrix products, convolutions and attentions within the block,
    also what is computed twice; by torch's own formulas.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        formula = flop_registry.get(getattr(function, "_overloadpacket", None))
        if formula is not None:
            self.operations += int(formula(*args, **(kwargs or {}), out_val=made))
        return made


class Meter:
    """Told of stages and steps; raises Stopped when it has seen enough.

    tell: takes figures as soon as they are known.  seconds: that the timed steps are to take, by what the last warm
    one took; fewest, most: steps whatever that says.  until: the stage after which nothing more is of interest.
    """

    def __init__(
        self, device: str, tell: Tell, seconds: float = 4.0, fewest: int = 4, most: int = 40, until: str = ""
    ) -> None:
        self._cuda, self._tell, self._until = device == "cuda", tell, until
        self._seconds, self._fewest, self._most = seconds, fewest, most
        self._began = self._marked = time.perf_counter()
        self._steps, self._last = 0, WARM + most
        self._stage = ""
        self._since: tuple[float, int] | None = None
        self._work: MatrixWork | None = None
        self._first: Any = None
        self._peaks: dict[str, int] = {}
        self._reserved = 0
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def stage(self, name: str, done: int = 0, total: int = 0) -> None:
        """A stage begins, or has come so far."""
        if name != self._stage:
            if self._until and self._stage == self._until:
                raise Stopped
            self._note_peak()
            self._stage, self._since = name, None
        if name == "caching" and done:
            self._cached(done, total)

    def _cached(self, done: int, total: int) -> None:
        """From the first batch on, which waits for kernels to be chosen."""
        now = time.perf_counter()
        if self._since is None:
            self._since = now, done
        elif done == total:
            began, before = self._since
            self._tell({"cached": done - before, "images_per_second": (done - before) / (now - began)})

    def step(self) -> None:
        """A step's work has been asked for."""
        self._steps += 1
        if self._steps == 1:
            self._waited()
            self._tell({"until_first_step": time.perf_counter() - self._began})
        if self._steps == COUNTED - 1:
            self._work = MatrixWork()
            self._work.__enter__()
        elif self._steps == COUNTED:
            self.end()
        elif self._steps == WARM:
            took = self._waited()
            wanted = round(self._seconds / took) if took else self._fewest
            self._last = WARM + max(self._fewest, min(self._most, wanted))
            self._first = self._mark()
        elif self._steps >= self._last:
            self._finish()
            raise Stopped

    def end(self) -> None:
        """Count no more, whatever happened."""
        work, self._work = self._work, None
        if work is not None:
            work.__exit__(None, None, None)
            self._tell({"operations": work.operations})
            self._waited()

    def memory(self) -> None:
        """Tell the memory, also of a row that ran out of it."""
        self._note_peak()
        if self._cuda:
            allocated = {"allocated": max(self._peaks.values()), "allocated_by_stage": self._peaks}
            self._tell({**allocated, "reserved": self._reserved, "process": _of_this_process()})

    def _finish(self) -> None:
        last = self._mark()
        count = self._steps - WARM
        if self._cuda:
            torch.cuda.synchronize()
            took = self._first.elapsed_time(last) / 1000
        else:
            took = last - self._first
        self._tell({"steps": count, "seconds_per_step": took / count})
        self.memory()

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _waited(self) -> float:
        """Seconds since the last call, with the GPU's work."""
        if self._cuda:
            torch.cuda.synchronize()
        before, self._marked = self._marked, time.perf_counter()
        return self._marked - before

    def _note_peak(self) -> None:
        """So far; from here on a stage has a peak of its own."""
        if self._cuda:
            peak = max(self._peaks.get(self._stage, 0), torch.cuda.max_memory_allocated())
            self._peaks[self._stage] = peak
            self._reserved = max(self._reserved, torch.cuda.max_memory_reserved())
            torch.cuda.reset_peak_memory_stats()


class WatchedReport(Report):
    """The engine's own report, that a meter listens to."""

    def __init__(self, writer: EventWriter, meter: Meter) -> None:
        super().__init__(writer)
        self._meter = meter

    def stage(self, name: Any, done: int = 0, total: int = 0, *more: Any, **named: Any) -> None:
        super().stage(name, done, total, *more, **named)
        self._meter.stage(name, done, total)

    def step(self, *all_of_it: Any, **named: Any) -> None:
        super().step(*all_of_it, **named)
        self._meter.step()


def _of_this_process() -> int | None:
    """Bytes of the GPU's memory that the driver counts for this process; None where it does not say."""
    if not shutil.which("nvidia-smi"):
        return None
    asked = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout
        for line in said.splitlines():
            pid, _, used = line.partition(",")
            if int(pid) == os.getpid():
                return int(used) * 2**20
    return None
