"""Captioning a folder: what every captioner does around its model.

Pictures are decoded while the model works; one that cannot be read is told and left out; each caption is written
as soon as it is known, so that stopping keeps what is done and starting again goes on there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine.disk import remove_leftovers, why_not
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report, shown_name
from engine.settings.option import Group, option
from engine.settings.values import JobSettings
from engine.tools.caption_files import CaptionFiles, CaptionWriter, read_caption
from engine.tools.folder_work import Captioner, Outcome, counted, gone_through
from engine.tools.pictures import PictureFolder, pictures_of

Written = Callable[[str | None, str], str]
"""(The caption there is, what the captioner said) → what is written."""


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


def caption_folder(
    settings: CaptionerSettings,
    run: RunFolder,
    report: Report,
    load: Callable[[], Captioner],
    written: Written | None = None,
    adds: bool = False,
) -> Outcome:
    """Caption what has no caption yet.  load: makes the captioner, once there is something to do.

    written: without it, what is written is that which the captioner said, with prefix and postfix.
    adds: captions that there are are gone through as well.
    """
    report.stage("looking", detail=settings.pictures.train_data_dir)
    work = Beside(
        settings.pictures,
        run,
        report,
        file_of=settings.files.file_of,
        overwrite=settings.text.overwrite,
        around=settings.text.around,
        written=written,
        adds=adds,
    )
    return gone_through(work, run, report, load)


class Beside:
    """The pictures whose captions, or scores, are to be written beside them, and what became of each.

    file_of: a picture → where what is said of it goes.  around: what was said → what is written, unless there is
    `written`.  adds: files that there are are gone through as well.  thing: what is written, for people.
    """

    def __init__(
        self,
        pictures: PictureFolder,
        run: RunFolder,
        report: Report,
        *,
        file_of: Callable[[Path], Path],
        overwrite: bool,
        around: Callable[[str], str] = str,
        written: Written | None = None,
        adds: bool = False,
        thing: str = "caption",
    ) -> None:
        self._report, self._file_of, self._thing = report, file_of, thing
        self._around, self._changed = around, written
        self._writer = CaptionWriter(run)
        self.written, self.unchanged, self.had_one, self.left_out = 0, 0, 0, 0
        self.todo = list(self._chosen(pictures_of(pictures, self.leave_out), overwrite or adds))
        self._last = ""

    def _chosen(self, pictures: list[Path], again: bool) -> Iterator[Path]:
        taken: dict[Path, Path] = {}
        for folder, inside in groupby(pictures, key=lambda picture: picture.parent):
            is_writable = os.access(folder, os.W_OK)
            if is_writable:
                remove_leftovers(folder)
            for picture in inside:
                file = self._file_of(picture)
                other = taken.setdefault(file, picture)
                if other is not picture:
                    same = f"has the same {self._thing} file as {shown_name(Path(other.name))}"
                    self.leave_out(picture, f"{same}; rename one")
                elif self._writer.has_done(file) or (file.exists() and not again):
                    self.had_one += 1
                elif not is_writable:
                    self.leave_out(picture, "is in a folder that cannot be written to")
                else:
                    yield picture

    def leave_out(self, file: Path, why: str) -> None:
        self.left_out += 1
        self._report.left_out(file, why)

    def write(self, picture: Path, said: str) -> None:
        file = self._file_of(picture)
        try:
            before = read_caption(file) if self._changed else None
            whole = self._changed(before, said) if self._changed else self._around(said)
            is_new = self._changed is None or whole != (before or "")
            if is_new:
                self._writer.write(file, whole, said)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            self.leave_out(picture, f"its {self._thing} cannot be written: {why_not(error)}")
        except ValueError as error:
            self.leave_out(picture, str(error))
        else:
            self.written += is_new
            self.unchanged += not is_new
            self._last = f"{shown_name(Path(picture.name))}: {whole}"

    def said(self) -> list[str]:
        """What was said of each picture, now and before the run was ended."""
        return self._writer.said()

    def last(self) -> str:
        return self._last

    def end(self, how: Literal["done", "stopped"]) -> Outcome:
        parts = [f"{counted(self.written, self._thing)} written"]
        if self.unchanged:
            parts.append(f"{self.unchanged} already as they should be")
        if self.had_one:
            parts.append(f"{counted(self.had_one, 'picture')} already had one")
        if self.left_out:
            parts.append(f"{self.left_out} left out")
        self._report.result(", ".join(parts) + ".")
        return how, self.written
