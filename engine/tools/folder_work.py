"""Going through a folder's pictures with a model: decoded ahead, in batches, until done or stopped by the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.tools.pictures import decoded_ahead, upright

T = TypeVar("T")
Outcome = tuple[Literal["done", "stopped"], int]


@dataclass
class Captioner:
    """How one kind of model captions, or scores, which is to say a number.

    describe: what decode() made of some pictures → their captions, without prefix and postfix.
    decode: a file → what describe() takes; called in other threads.
    """

    describe: Callable[[Sequence[Any]], list[str]]
    batch_size: int = 1
    decode: Callable[[Path], Any] = upright


class Work(Protocol):
    """The pictures to go through, and where what is said of each goes."""

    todo: list[Path]

    def leave_out(self, file: Path, why: str) -> None: ...

    def write(self, picture: Path, said: str) -> None:
        """Keep what was said of one picture, or tell why that is not possible; only a full disk ends the run."""
        ...

    def last(self) -> str:
        """What was written last, for people."""
        ...

    def end(self, how: Literal["done", "stopped"]) -> Outcome:
        """Say in a sentence what was done."""
        ...


def gone_through(work: Work, run: RunFolder, report: Report, load: Callable[[], Captioner]) -> Outcome:
    """load: makes the captioner, once there is something to do."""
    control = run.control()
    if work.todo:
        captioner = load()
        report.stage("working")
        report.progress(0, len(work.todo))
        seen = 0
        decoded = decoded_ahead(work.todo, captioner.decode, ahead=2 * captioner.batch_size)
        for batch in _batches(decoded, captioner.batch_size):
            if "stop" in control.take():
                return work.end("stopped")
            readable = [(file, picture) for file, picture in batch if not isinstance(picture, str)]
            captions = captioner.describe([picture for _, picture in readable]) if readable else []
            for file, why in batch:
                if isinstance(why, str):
                    work.leave_out(file, why)
            for (file, _), caption in zip(readable, captions, strict=True):
                work.write(file, caption)
            seen += len(batch)
            report.progress(seen, len(work.todo), last=work.last())
    return work.end("done")


def counted(number: int, thing: str, things: str = "") -> str:
    """ "1 picture", "3 pictures", "3 entries"."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
