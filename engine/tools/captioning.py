"""Captioning a folder: what every captioner does around its model.

Pictures are decoded while the model works; one that cannot be read is told and left out; each caption is written
as soon as it is known, so that stopping keeps what is done and starting again goes on there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from engine.disk import remove_leftovers, why_not
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report, shown_name
from engine.settings.option import Group, option
from engine.settings.values import JobSettings
from engine.tools.caption_files import CaptionFiles, CaptionWriter, read_caption
from engine.tools.pictures import PictureFolder, decoded_ahead, pictures_of, upright

T = TypeVar("T")
Outcome = tuple[Literal["done", "stopped"], int]


class AroundTheCaption(Group):
    prefix: str = option(
        "",
        label="Prefix to add to caption",
        section="Captions",
        help="Added before every caption, followed by a space.",
    )
    postfix: str = option(
        "",
        label="Postfix to add to caption",
        section="Captions",
        help="Added after every caption, preceded by a space.",
        also=("caption_postfix",),
    )
    overwrite: bool = option(
        False,
        label="Overwrite existing captions in folder",
        section="Captions",
        help="Off: pictures that already have a caption are skipped. On: the old caption is kept next to it as a .bak "
        "file.",
    )

    def around(self, caption: str) -> str:
        """The caption with prefix and postfix, a blank between what is not empty, as kohya_ss puts them."""
        return " ".join(part for part in (self.prefix.strip(), caption.strip(), self.postfix.strip()) if part)


class CaptionerSettings(JobSettings):
    """What every captioner with a model is told; each adds its own."""

    pictures: PictureFolder = Field(default_factory=PictureFolder)
    files: CaptionFiles = Field(default_factory=CaptionFiles)
    text: AroundTheCaption = Field(default_factory=AroundTheCaption)

    def title(self) -> str:
        return f"captions-{Path(self.pictures.train_data_dir).name}"

    def failures(self) -> Iterator[Failure]:
        yield from self.files.failures()
        yield from self.pictures.failures()


@dataclass
class Captioner:
    """How one kind of model captions.

    describe: what decode() made of some pictures → their captions, without prefix and postfix.
    decode: a file → what describe() takes; called in other threads.
    """

    describe: Callable[[Sequence[Any]], list[str]]
    batch_size: int = 1
    decode: Callable[[Path], Any] = upright


def caption_folder(
    settings: CaptionerSettings,
    run: RunFolder,
    report: Report,
    load: Callable[[], Captioner],
    written: Callable[[str | None, str], str] | None = None,
    adds: bool = False,
) -> Outcome:
    """Caption what has no caption yet.  load: makes the captioner, once there is something to do.

    written: (the caption there is, what the captioner said) → what is written; without it, that which it said,
    with prefix and postfix.  adds: captions that there are are gone through as well.
    """
    report.stage("looking", detail=settings.pictures.train_data_dir)
    work = _Work(settings, run, report, adds)
    control = run.control()
    if work.todo:
        captioner = load()
        report.stage("working")
        report.progress(0, len(work.todo))
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
                work.write(file, caption, written)
            work.tell(len(batch))
    return work.end("done")


class _Work:
    """The pictures to caption, and what became of each."""

    def __init__(self, settings: CaptionerSettings, run: RunFolder, report: Report, adds: bool) -> None:
        self._files, self._text, self._report = settings.files, settings.text, report
        self._writer = CaptionWriter(run)
        self.written, self.unchanged, self.had_one, self.left_out = 0, 0, 0, 0
        self.todo = list(self._chosen(pictures_of(settings.pictures, self.leave_out), settings, adds))
        self._seen, self._last = 0, ""

    def _chosen(self, pictures: list[Path], settings: CaptionerSettings, adds: bool) -> Iterator[Path]:
        taken: dict[Path, Path] = {}
        for folder, inside in groupby(pictures, key=lambda picture: picture.parent):
            is_writable = os.access(folder, os.W_OK)
            if is_writable:
                remove_leftovers(folder)
            for picture in inside:
                file = settings.files.file_of(picture)
                other = taken.setdefault(file, picture)
                if other is not picture:
                    self.leave_out(picture, f"has the same caption file as {shown_name(Path(other.name))}; rename one")
                elif self._writer.has_done(file) or (file.exists() and not (settings.text.overwrite or adds)):
                    self.had_one += 1
                elif not is_writable:
                    self.leave_out(picture, "is in a folder that cannot be written to")
                else:
                    yield picture

    def leave_out(self, file: Path, why: str) -> None:
        self.left_out += 1
        self._report.left_out(file, why)

    def write(self, picture: Path, said: str, written: Callable[[str | None, str], str] | None) -> None:
        """Write one caption, or tell why it could not be; only a full disk ends the run."""
        file = self._files.file_of(picture)
        try:
            before = read_caption(file) if written else None
            whole = written(before, said) if written else self._text.around(said)
            is_new = written is None or whole != (before or "")
            if is_new:
                self._writer.write(file, whole, said)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            self.leave_out(picture, f"its caption cannot be written: {why_not(error)}")
        except ValueError as error:
            self.leave_out(picture, str(error))
        else:
            self.written += is_new
            self.unchanged += not is_new
            self._last = f"{shown_name(Path(picture.name))}: {whole}"

    def tell(self, looked_at: int) -> None:
        """How far it is, after so many pictures more."""
        self._seen += looked_at
        self._report.progress(self._seen, len(self.todo), last=self._last)

    def end(self, how: Literal["done", "stopped"]) -> Outcome:
        """Say in a sentence what was done."""
        parts = [f"{counted(self.written, 'caption')} written"]
        if self.unchanged:
            parts.append(f"{self.unchanged} already as they should be")
        if self.had_one:
            parts.append(f"{counted(self.had_one, 'picture')} already had one")
        if self.left_out:
            parts.append(f"{self.left_out} left out")
        self._report.result(", ".join(parts) + ".")
        return how, self.written


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
