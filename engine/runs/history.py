"""A run's whole story so far, gathered from its events as they come."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

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
)
from engine.runs.folder import RunFolder, Status


@dataclass
class History:
    """Call update() before looking.

    version: grows with every event read, so that a page sees news cheaply.  begun_files: names of all files that the
    run began to write; one of which no checkpoint tells may be there nevertheless, after a kill in between.
    """

    run: RunFolder
    version: int = 0
    planned: Planned | None = None
    stage: Stage | None = None
    steps: list[Step] = field(default_factory=list)
    validated: list[Validated] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    begun_files: set[str] = field(default_factory=set)
    progress: Progress | None = None
    captioned: list[Captioned] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problem: Problem | None = None
    state_step: int | None = None
    last: AnyEvent | None = None

    def __post_init__(self) -> None:
        self._reader = self.run.events()
        self._lock = threading.Lock()

    def update(self) -> History:
        """Read what was appended since the last time."""
        with self._lock:
            for event in self._reader.read():
                self._take(event)
        return self

    @property
    def status(self) -> Status:
        return self.run.status(self.last, self._reader.offset)

    @property
    def total_steps(self) -> int:
        return self.planned.total_steps if self.planned else 0

    @property
    def done_steps(self) -> int:
        """Steps behind the run, those of an earlier engine included."""
        if self.steps:
            return self.steps[-1].step
        return self.planned.first_step if self.planned else 0

    def latest(self, name: str) -> object:
        """The last value that steps gave for a field which not every step carries, or None."""
        return next((value for s in reversed(self.steps) if (value := getattr(s, name)) is not None), None)

    def _take(self, event: AnyEvent) -> None:
        self.version += 1
        self.last = event
        if isinstance(event, Planned):
            self.planned = event
            # A resumed run begins at its last state: what was reported beyond it is about to be done again.
            self.steps = [s for s in self.steps if s.step <= event.first_step]
            self.samples = [s for s in self.samples if s.step <= event.first_step]
            self.validated = [v for v in self.validated if v.step <= event.first_step]
        elif isinstance(event, Stage):
            self.stage = event
            if event.name == "saving":
                self.begun_files.add(event.detail)
        elif isinstance(event, Step):
            self.steps.append(event)
        elif isinstance(event, Validated):
            self.validated.append(event)
        elif isinstance(event, Sample):
            self.samples.append(event)
        elif isinstance(event, Checkpoint):
            self.checkpoints = [*(c for c in self.checkpoints if c.file != event.file), event]
        elif isinstance(event, StateSaved):
            self.state_step = event.step
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
