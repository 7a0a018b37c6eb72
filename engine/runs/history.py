"""A run's history so far, gathered from its events as they arrive."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from engine.runs.curve import Curve
from engine.runs.events import (
    AnyEvent,
    Captioned,
    Checkpoint,
    LeftOut,
    Planned,
    Problem,
    Progress,
    Result,
    Sample,
    Stage,
    StateSaved,
    Step,
    Validated,
    Warned,
    parse_event,
    step_figures,
)
from engine.runs.folder import LONGEST_EVENT, RunFolder, Status

Some = TypeVar("Some", Step, Validated)


@dataclass
class History:
    """Call update() before reading.

    version: grows with every event read, so that a page detects news cheaply.  begun_files: names of all files that the
    run started to write; one without a checkpoint event may exist nevertheless, after a kill in between.
    losses, held_out: of the steps, and of held-out pictures, as a chart shows them, however many there are.
    measured: after how many steps each validation loss was measured.  memory: bytes in use, as last reported.
    """

    run: RunFolder
    version: int = 0
    planned: Planned | None = None
    stage: Stage | None = None
    losses: Curve = field(default_factory=Curve)
    held_out: Curve = field(default_factory=Curve)
    measured: set[int] = field(default_factory=set)
    last_validated: Validated | None = None
    memory: int | None = None
    samples: list[Sample] = field(default_factory=list)
    begun_files: set[str] = field(default_factory=set)
    progress: Progress | None = None
    captioned: list[Captioned] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problem: Problem | None = None
    state_step: int | None = None

    def __post_init__(self) -> None:
        self._reader = self.run.events()
        self._lock = threading.Lock()
        self._checkpoints: dict[str, Checkpoint] = {}
        self._last: AnyEvent | bytes | None = None
        self._step: Step | bytes | None = None
        self._at_state: tuple[Curve, Step | None, Validated | None] = Curve(), None, None

    def update(self, within: float | None = None) -> History:
        """Read what was appended since the last time; thread-safe, a piece at a time.

        within: seconds after which the rest is left for the next time.
        """
        until = math.inf if within is None else time.monotonic() + within
        while True:
            with self.still():
                lines = self._reader.lines()
                for line in lines:
                    self._read(line)
            if not lines or time.monotonic() > until:
                return self

    @contextmanager
    def still(self) -> Iterator[None]:
        """Within the block nothing is read, so that the values are consistent."""
        with self._lock:
            yield

    @property
    def is_behind(self) -> bool:
        """Whether so much is still to be read that the state of the run is not known yet."""
        return self.run.events_size() - self._reader.offset > LONGEST_EVENT

    @property
    def share_read(self) -> float:
        """Share of the run's events read so far, 0 to 1; a line may be about to be written."""
        return min(1.0, self._reader.offset / max(1, self.run.events_size()))

    @property
    def status(self) -> Status:
        size = self.run.events_size()
        if self._reader.offset < size:
            return self.run.status(self.run.last_event(), size)
        return self.run.status(self.last, self._reader.offset)

    @property
    def last(self) -> AnyEvent | None:
        """The last event that was read."""
        return parse_event(self._last) if isinstance(self._last, bytes) else self._last

    @property
    def last_step(self) -> Step | None:
        if isinstance(self._step, bytes):
            found = parse_event(self._step)
            self._step = found if isinstance(found, Step) else None
        return self._step

    @property
    def steps(self) -> list[Step]:
        """Every single step, read again: for comparing runs, not for looking at one every second."""
        return self._exactly(Step)

    @property
    def validated(self) -> list[Validated]:
        """Every single validation loss, in the same way."""
        return self._exactly(Validated)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The files that were written, in the order of their last write."""
        return list(self._checkpoints.values())

    @property
    def total_steps(self) -> int:
        return self.planned.total_steps if self.planned else 0

    @property
    def done_steps(self) -> int:
        """Steps done, including those of an earlier engine."""
        if (last := self.last_step) is not None:
            return last.step
        return self.planned.first_step if self.planned else 0

    def _exactly(self, kind: type[Some]) -> list[Some]:
        found: list[Some] = []
        for event in self.run.events().read():
            if isinstance(event, Planned):
                found = [before for before in found if before.step <= event.first_step]
            elif isinstance(event, kind):
                found.append(event)
        return found

    def _read(self, line: bytes) -> None:
        figures = step_figures(line)
        if figures is None:
            if (event := parse_event(line)) is not None:
                self._take(event)
            return
        self.version += 1
        self._last = self._step = line
        self.losses.add(figures.step, figures.loss, figures.smoothed_loss)
        self.memory = figures.memory or self.memory

    def _take(self, event: AnyEvent) -> None:
        self.version += 1
        self._last = event
        if isinstance(event, Planned):
            self.planned = event
            self._begin_at(event.first_step)
        elif isinstance(event, Stage):
            self.stage = event
            if event.name == "saving":
                self.begun_files.add(event.detail)
        elif isinstance(event, Step):
            self._step = event
            self.losses.add(event.step, event.loss, event.smoothed_loss)
            self.memory = event.memory or self.memory
        elif isinstance(event, Validated):
            self.last_validated = event
            self.measured.add(event.step)
            self.held_out.add(event.step, event.loss, None)
        elif isinstance(event, Sample):
            self.samples.append(event)
        elif isinstance(event, Checkpoint):
            self._checkpoints.pop(event.file, None)
            self._checkpoints[event.file] = event
        elif isinstance(event, StateSaved):
            self.state_step = event.step
            self._at_state = self.losses.copy(), self.last_step, self.last_validated
        elif isinstance(event, Progress):
            self.progress = event
        elif isinstance(event, LeftOut):
            self.left_out.append(event)
        elif isinstance(event, Captioned):
            self.captioned.append(event)
        elif isinstance(event, Result):
            self.results.append(event)
        elif isinstance(event, Warned):
            self.warnings.append(event.text)
        elif isinstance(event, Problem):
            self.problem = event
        elif event.kind == "started":
            self.problem, self.warnings, self.stage = None, [], None
            self.progress, self.captioned, self.left_out, self.results = None, [], [], []

    def _begin_at(self, first_step: int) -> None:
        """A resumed run starts at its last state: what was reported beyond it will be done again."""
        at_state, step, validated = self._at_state
        if at_state.points and at_state.points[-1].step == first_step:
            self.losses, self._step, self.last_validated = at_state.copy(), step, validated
        elif self.done_steps > first_step:
            self.losses.cut(first_step)
            self._step = self.last_validated = None
        self.held_out.cut(first_step)
        self.measured = {step for step in self.measured if step <= first_step}
        self.samples = [s for s in self.samples if s.step <= first_step]
