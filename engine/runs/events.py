"""The event types, writing them, and following them while they are written.

A run's history is events.jsonl: one JSON object per line, appended and flushed. A reader skips unknown
kinds, and leaves a half-written last line for later.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from engine.reading import opened

LONGEST_LINE = 2**22
"""Characters of a line; a utility's results may name some thousand files."""

LARGEST_NUMBER = 3.5e38
"""Largest number in an event: float32 has no larger one, so engines do not report any."""


class Event(BaseModel):
    """time: seconds since 1970."""

    time: float = Field(default_factory=time.time)


class Started(Event):
    """The engine is running."""

    kind: Literal["started"] = "started"
    versions: dict[str, str] = {}


class Planned(Event):
    """The plan.  total_steps and steps_per_epoch: optimizer steps.

    first_step: steps done before, above 0 if the run resumes from a saved state; what an earlier
    engine reported beyond it is void.
    """

    kind: Literal["planned"] = "planned"
    total_steps: int
    steps_per_epoch: int
    seed: int
    device: str
    first_step: int = 0


class Stage(Event):
    """What the run is doing now, and its progress; total is 0 if unknown.

    done and total of "loading" are bytes of a download.
    """

    kind: Literal["stage"] = "stage"
    name: Literal[
        "loading", "caching", "captions", "training", "validating", "sampling", "saving", "looking", "working"
    ]
    done: int = 0
    total: int = 0
    detail: str = ""

    @property
    def words(self) -> str:
        return "encoding captions" if self.name == "captions" else self.name


class Step(Event):
    """One optimizer step.  step counts from 1.

    loss: this step's, None if not finite.  smoothed_loss: a mean, mostly of recent steps.
    learning_rates: by parameter group.  images_per_second: over the last seconds.  memory: bytes in use.
    eta: seconds left.  waiting: share of the time of the last steps spent waiting for pictures.
    """

    kind: Literal["step"] = "step"
    step: int
    epoch: int
    loss: float | None = None
    smoothed_loss: float
    learning_rates: dict[str, float]
    grad_norm: float | None = None
    images_per_second: float | None = None
    memory: int | None = None
    eta: float | None = None
    waiting: float | None = None


class Validated(Event):
    """The loss on held-out pictures, after `step` steps; None if not finite.

    pictures: how many it was measured on.
    """

    kind: Literal["validated"] = "validated"
    step: int
    loss: float | None = None
    pictures: int


class Sample(Event):
    """A sample picture.  file: the full picture.  preview: a small copy within the run's folder."""

    kind: Literal["sample"] = "sample"
    file: str
    preview: str
    prompt: str
    prompt_index: int
    seed: int
    step: int


class Checkpoint(Event):
    """A trained file was written."""

    kind: Literal["checkpoint"] = "checkpoint"
    file: str
    step: int
    final: bool = False


class StateSaved(Event):
    """The run can be resumed from this step."""

    kind: Literal["state"] = "state"
    step: int


class Progress(Event):
    """A utility's progress.  done, total: items, named by `unit`.

    per_second: over the whole run so far.  eta: seconds left.  last: what it did last, for people.
    """

    kind: Literal["progress"] = "progress"
    done: int
    total: int
    unit: str = "pictures"
    per_second: float | None = None
    eta: float | None = None
    last: str = ""


class LeftOut(Event):
    """A file that a utility could not process and skipped.  file: as text, whatever bytes its name contains."""

    kind: Literal["left_out"] = "left_out"
    file: str
    why: str


class Captioned(Event):
    """A captioner's caption of a picture, when two are compared.  place: 0 for the first of them, 1 for the second.

    captioner: the name of its tab.  file: the picture's name.  preview: a small copy within the run's folder, if any.
    """

    kind: Literal["captioned"] = "captioned"
    place: int
    captioner: str
    file: str
    preview: str
    caption: str


class Result(Event):
    """A utility's final result: a sentence, and further lines, if any."""

    kind: Literal["result"] = "result"
    text: str
    lines: list[str] = []


class Warned(Event):
    kind: Literal["warning"] = "warning"
    text: str


class Problem(Event):
    """What is wrong, and how to fix it.  option: the name of the option it is about, if any."""

    kind: Literal["problem"] = "problem"
    what: str
    mend: str = ""
    option: str = ""


class Finished(Event):
    """The last event of an engine that ended by itself."""

    kind: Literal["finished"] = "finished"
    how: Literal["done", "stopped", "failed"]
    step: int = 0


AnyEvent = (
    Started | Planned | Stage | Step | Validated | Sample | Checkpoint | StateSaved
    | Progress | LeftOut | Captioned | Result | Warned | Problem | Finished
)  # fmt: skip
_READ: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


class EventWriter:
    """Appends events to a file; safe to call from several threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        _end_half_line(file)
        self._file = file.open("a", encoding="utf-8")

    def write(self, *events: Event) -> None:
        text = "".join(event.model_dump_json(exclude_none=True) + "\n" for event in events)
        with self._lock:
            self._file.write(text)
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class EventReader:
    """Reads what has been appended since the last time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._offset

    def read(self) -> list[AnyEvent]:
        """The events whose lines are complete, in order; none if the file does not exist yet."""
        events = []
        while lines := self.lines():
            events += [event for line in lines if (event := parse_event(line)) is not None]
        return events

    def lines(self, most_bytes: int = 2**20) -> list[bytes]:
        """The next complete lines, as many as fit into the bytes, but at least one; none if nothing is new."""
        try:
            with opened(self._file) as stream:
                stream.seek(self._offset)
                data = stream.read(most_bytes)
                if len(data) == most_bytes:
                    data += stream.readline(LONGEST_LINE)
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) > LONGEST_LINE:  # no engine writes such a long line; it is skipped
            whole = data
        self._offset += len(whole)
        return whole.splitlines()


class StepFigures(NamedTuple):
    """What is kept of every step; memory: bytes in use, if reported."""

    step: int
    loss: float | None
    smoothed_loss: float
    memory: int | None


_NUMBER = rb"-?\d{1,18}(?:\.\d{1,25})?(?:[eE](?:-\d{1,3}|\+?1?\d))?"
"""None beyond LARGEST_NUMBER."""
_STEP = re.compile(
    rb'\{"time":N,"kind":"step","step":(\d{1,15}),"epoch":\d{1,15},(?:"loss":(N),)?"smoothed_loss":(N),'
    rb'"learning_rates":\{(?:"[\w .-]{1,80}":N,?){0,99}\}(?:,"grad_norm":N)?(?:,"images_per_second":N)?'
    rb'(?:,"memory":(\d{1,18}))?(?:,"eta":N)?(?:,"waiting":N)?\}'.replace(b"N", _NUMBER)
)
"""A step's line as EventWriter writes it."""


def step_figures(line: bytes) -> StepFigures | None:
    """Parse a step's line like parse_event(), six times as fast: a long run has a million of them.

    None for any other line, and for one written differently.
    """
    told = _STEP.fullmatch(line)
    if told is None:
        return None
    step, loss, smoothed, memory = told.groups()
    return StepFigures(
        int(step), None if loss is None else float(loss), float(smoothed), None if memory is None else int(memory)
    )


def parse_event(line: bytes) -> AnyEvent | None:
    """One line's event, or None for a line that this version cannot read, or with values that no engine reports."""
    if len(line) > LONGEST_LINE:
        return None
    try:
        event = _READ.validate_json(line)
    except ValidationError:
        return None
    return event if _are_possible(event.__dict__.values()) else None


def _are_possible(values: Iterable[Any]) -> bool:
    """Whether all numbers are valid for calculations."""
    for value in values:
        if isinstance(value, int | float):
            if not abs(value) <= LARGEST_NUMBER:  # nor NaN
                return False
        elif isinstance(value, dict) and not _are_possible(value.values()):
            return False
    return True


def _end_half_line(file: Path) -> None:
    """A killed engine may have left half a line; the next one starts a new line."""
    if file.exists() and file.stat().st_size:
        with file.open("rb+") as stream:
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                stream.write(b"\n")


def as_plain(event: AnyEvent) -> dict[str, Any]:
    return event.model_dump(exclude_none=True)
