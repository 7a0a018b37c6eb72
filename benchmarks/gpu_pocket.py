"""The first training that a newcomer sees: here the built-in model learns a heart, is killed, and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
from PIL import Image

from engine import begin
from engine.demo.demo import write_demo
from engine.demo.judge import judge
from engine.demo.shapes import NEW_SHAPE, SHAPES
from engine.runs import process
from engine.runs.events import Planned, Problem, Sample, Started, StateSaved, Step
from engine.runs.folder import RunFolder

Tell = Callable[[dict[str, Any]], None]

TINY = {"max_train_steps": 8, "save_every_n_steps": 3, "sample_every_n_steps": 4, "train_batch_size": 1}
FULL = {"save_every_n_steps": 100}
KILLED_AFTER = 150, 4
"""Steps, and with --tiny: some after the first state, so that they are done twice."""

SHOWN = 20
"""Steps whose losses are shown as a mean."""


class NotLearned(RuntimeError):
    """What went wrong, for people."""


def pocket(work: Path, tiny: bool, tell: Tell, limit: float) -> None:
    """Raises NotLearned."""
    until = time.monotonic() + limit
    settings = write_demo(work).with_values({"overwrite": True, **(TINY if tiny else FULL)})
    began = time.perf_counter()
    checked, run = begin.begin(settings)
    if run is None:
        raise NotLearned("; ".join(problem.sentences for problem in checked.problems))
    killed_at = KILLED_AFTER[tiny]
    _wait(run, until, lambda: _last_step(run) >= killed_at)
    for member in process.processes_of(run):
        with suppress(psutil.Error):
            os.kill(member.pid, signal.SIGKILL)
    process.wait(run, max(0.0, until - time.monotonic()))
    tell({"killed_after": _last_step(run)})
    begin.resume(run)
    _wait(run, until, lambda: not run.is_alive())
    process.reap()
    _tell_how_it_went(run, tell)
    tell({"seconds": time.perf_counter() - began})
    if run.status_now() != "done":
        raise NotLearned(f"it ended as {run.status_now()}: {run.log_tail(5)}")


def _tell_how_it_went(run: RunFolder, tell: Tell) -> None:
    events = run.events().read()
    losses: list[dict[int, float]] = []
    for event in events:
        if isinstance(event, Started):
            losses.append({})
        elif isinstance(event, Step) and event.loss is not None:
            losses[-1][event.step] = event.loss
        elif isinstance(event, Problem):
            tell({"problem": event.what})
    before, after = losses[0], losses[-1]
    first, last = list(before.values())[:SHOWN], list(after.values())[-SHOWN:]
    twice = [abs(before[step] - after[step]) for step in before.keys() & after.keys()]
    drawn = {(event.step, event.prompt_index): event for event in events if isinstance(event, Sample)}
    final = max((step for step, _ in drawn), default=0)
    verdicts = [_is_shown(event) for (step, _), event in drawn.items() if step == final]
    planned = [event for event in events if isinstance(event, Planned)]
    tell({
        "computed_on": planned[-1].device, "total_steps": planned[-1].total_steps,
        "went_on_from": planned[-1].first_step, "states": sum(isinstance(event, StateSaved) for event in events),
        "loss_at_first": mean(first) if first else None, "loss_at_last": mean(last) if last else None,
        "steps_done_twice": len(twice), "their_largest_difference": max(twice, default=None),
        "samples": len(drawn), "last_samples": len(verdicts), "last_samples_right": sum(verdicts),
        "steps_per_second": _speed(events),
    })  # fmt: skip


def _is_shown(sample: Sample) -> bool:
    """Whether the picture shows the shape that its prompt names."""
    wanted = next((shape for shape in (NEW_SHAPE, *SHAPES) if shape in sample.prompt.split()), "")
    with Image.open(sample.file) as picture:
        return judge(picture).shape == wanted


def _speed(events: list[Any]) -> float | None:
    """Steps a second where nothing is drawn in between: the median of the distances in time."""
    times = [event.time for event in events if isinstance(event, Step)]
    between = sorted(after - before for before, after in pairwise(times))
    return 1 / between[len(between) // 2] if between and between[len(between) // 2] > 0 else None


def _last_step(run: RunFolder) -> int:
    return max((event.step for event in run.events().read() if isinstance(event, Step)), default=0)


def _wait(run: RunFolder, until: float, is_reached: Callable[[], bool]) -> None:
    """Raises NotLearned where the time runs out, or the engine ends before."""
    while not is_reached():
        if time.monotonic() > until or not run.is_alive():
            reason = "the time ran out" if run.is_alive() else "the engine ended"
            raise NotLearned(f"{reason} after step {_last_step(run)}: {run.log_tail(5)}")
        process.reap()
        time.sleep(0.1)
