"""Two captioners on a handful of pictures, to be read beside each other before one of them goes through all.

Each works as it always does, on copies within the run's folder: nothing of the user's is written.
"""

from __future__ import annotations

import gc
import json
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from engine.check.utility import check_utility
from engine.failure import Failure
from engine.jobs import UTILITIES, Job
from engine.runs.events import Captioned
from engine.runs.folder import Control, RunFolder
from engine.runs.report import Report, shown_name
from engine.settings.option import Group, like, option
from engine.settings.values import BadValues, JobSettings
from engine.tools.caption_files import CaptionFiles, read_caption
from engine.tools.captioning import CaptionerSettings, Outcome, counted
from engine.tools.pictures import PictureFolder, pictures_of, upright

Name = Literal["WD14", "BLIP", "BLIP-2", "GIT", "Florence-2", "Qwen-VL"]
"""The captioners that have a model, as their tabs are called."""

CAPTIONERS, SOME = "Captioners", "Pictures"

OPTIONS = ("first_options", "second_options")
"""Those that the page fills from the captioners' own tabs."""

PREVIEW = 320
"""Pixels of the longer side of a picture as it is shown."""


class Pictures(PictureFolder):
    train_data_dir: str = like(
        PictureFolder,
        "train_data_dir",
        label="Image folder",
        help="The folder that holds the pictures. Nothing is written there.",
    )
    count: int = option(
        4, ge=1, le=50, label="Number of pictures", section=SOME, help="A handful is enough to see how each one speaks."
    )
    which: Literal["first", "random"] = option(
        "first", label="Which pictures", section=SOME, help="The first by name, or some by chance."
    )
    seed: int = option(
        0,
        ge=0,
        label="Seed",
        section=SOME,
        help="Another one chooses other pictures.",
        applies_when={"which": ("random",)},
    )

    def chosen(self, pictures: list[Path]) -> list[Path]:
        """So many of the pictures, in their order."""
        if self.which == "first" or len(pictures) <= self.count:
            return pictures[: self.count]
        return sorted(random.Random(self.seed).sample(pictures, self.count))


class Two(Group):
    first: Name = option("BLIP", label="First captioner", section=CAPTIONERS, help="With the settings of its own tab.")
    second: Name = option(
        "WD14", label="Second captioner", section=CAPTIONERS, help="With the settings of its own tab."
    )
    first_options: str = option(
        "{}",
        label="Options of the first",
        widget="none",
        section=CAPTIONERS,
        help='As JSON, such as {"max_length": 40}; what is not named is at its default.',
    )
    second_options: str = option(
        "{}",
        label="Options of the second",
        section=CAPTIONERS,
        widget="none",
        help="The same for the other one.",
    )


class Settings(JobSettings):
    pictures: Pictures = Field(default_factory=Pictures)
    two: Two = Field(default_factory=Two)

    def title(self) -> str:
        return f"compare-{Path(self.pictures.train_data_dir).name}"

    def sides(self) -> tuple[tuple[Name, str, str], tuple[Name, str, str]]:
        """Of each captioner the name, the options as JSON, and which option these stand in."""
        two = self.two
        return (two.first, two.first_options, OPTIONS[0]), (two.second, two.second_options, OPTIONS[1])

    def failures(self) -> Iterator[Failure]:
        (first, options, _), (second, others, _) = self.sides()
        if (first, options) == (second, others):
            yield Failure("Both captioners are the same.", "Choose another one.", "second")
        yield from self.pictures.failures()
        for name, given, option_name in self.sides():
            try:
                inner = captioner_settings(name, given, self.pictures.train_data_dir, option_name)
            except Failure as failure:
                yield failure
                continue
            for problem in check_utility(inner).problems:
                if problem.blocking and problem.option not in Pictures.model_fields:
                    yield Failure(f"{name}: {problem.what}", problem.mend, option_name)


def captioner_settings(name: str, options: str, folder: str, option_name: str = "") -> CaptionerSettings:
    """What a captioner is told, for pictures directly in a folder.  options: JSON.  Raises Failure."""
    try:
        given = json.loads(options or "{}")
        if not isinstance(given, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise Failure(f"{options[:80]!r} is no JSON object.", 'Write {"OPTION": VALUE, …}.', option_name) from None
    fixed = {"train_data_dir": folder, "recursive": False, "overwrite": True}
    try:
        settings = job_of(name).settings_class()().with_values(given | fixed)
    except KeyError as error:
        raise Failure(f"{name} has no option {error.args[0]}.", "Leave it out.", option_name) from None
    except BadValues as error:
        raise Failure(f"{name}: {error}", "Correct it in its tab.", option_name) from None
    assert isinstance(settings, CaptionerSettings)
    return settings


def job_name(captioner: str) -> str:
    """The name among the jobs of a captioner that is known by its tab, such as caption-blip2 for BLIP-2."""
    return next(name for name, job in UTILITIES.items() if job.tab == f"Captioning/{captioner}")


def job_of(captioner: str) -> Job:
    return UTILITIES[job_name(captioner)]


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Let one captioner after the other describe the pictures; what the first said is told before the second begins."""
    report.stage("looking", detail=settings.pictures.train_data_dir)
    pictures = settings.pictures.chosen(pictures_of(settings.pictures, report.left_out))
    previews = [_preview(picture, run, number) for number, picture in enumerate(pictures)]
    for place, (name, options, _) in enumerate(settings.sides()):
        folder = run.drafts_folder / str(place)
        inner = captioner_settings(name, options, str(folder / "pictures"))
        copies = _copies(pictures, folder / "pictures", inner.files)
        names = {copy.name: picture for copy, picture in zip(copies, pictures, strict=True)}
        part = _Part(report, names, place * len(pictures), 2 * len(pictures))
        how, _ = job_of(name).load()(inner, _Draft(folder, run), part)
        if how == "stopped":
            report.result("Stopped; Resume goes on where it was.")
            return "stopped", place * len(pictures)
        for copy, picture, preview in zip(copies, pictures, previews, strict=True):
            report.event(
                Captioned(
                    place=place,
                    captioner=name,
                    file=shown_name(Path(picture.name)),
                    preview=preview,
                    caption=_said(inner.files.file_of(copy)),
                )
            )
        _free()
    report.result(f"{counted(len(pictures), 'picture')} described by both. No caption of yours was changed.")
    return "done", len(pictures)


@dataclass(frozen=True)
class _Draft(RunFolder):
    """Where one of the captioners notes what it has done; it is stopped where the whole run is."""

    whole: RunFolder

    def control(self) -> Control:
        return self.whole.control()


class _Part(Report):
    """What one captioner tells, as a part of the whole; its last words are left out.

    names: the user's pictures by the names of their copies.  before, total: pictures of the whole.
    """

    def __init__(self, whole: Report, names: dict[str, Path], before: int, total: int) -> None:
        super().__init__(None)
        self._whole, self._names, self._before, self._total = whole, names, before, total

    def stage(self, name: Any, done: int = 0, total: int = 0, detail: str = "") -> None:
        self._whole.stage(name, done, total, detail)

    def progress(self, done: int, total: int, unit: str = "pictures", last: str = "") -> None:
        self._whole.progress(self._before + done, self._total, "captions", last)

    def left_out(self, file: Path, why: str) -> None:
        self._whole.left_out(self._names.get(file.name, file), why)

    def warn(self, text: str) -> None:
        self._whole.warn(text)

    def result(self, text: str, lines: list[str] | None = None) -> None:
        """Of captions written: nobody asked for those."""


def _copies(pictures: list[Path], folder: Path, files: CaptionFiles) -> list[Path]:
    """The pictures under numbers, with their captions, for a captioner may add to these."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / f"{number:03}{picture.suffix}" for number, picture in enumerate(pictures)]
    for picture, copy in zip(pictures, copies, strict=True):
        if copy.exists():  # of an engine that was ended
            continue
        with suppress(OSError):  # one that cannot be read is told by the captioner, which does not find it
            caption = files.file_of(picture)
            if caption.is_file():
                shutil.copyfile(caption, files.file_of(copy))
            shutil.copyfile(picture, copy)
    return copies


def _said(file: Path) -> str:
    try:
        return read_caption(file) or ""
    except (OSError, ValueError):
        return ""


def _preview(picture: Path, run: RunFolder, number: int) -> str:
    """The name of a small copy within the run's folder; nothing where the picture cannot be read."""
    run.previews_folder.mkdir(exist_ok=True)
    file = run.previews_folder / f"{number:03}.webp"
    try:
        image = upright(picture)
        image.thumbnail((PREVIEW, PREVIEW))
        image.save(file)
    except Exception:  # pillow's decoders raise many kinds; the captioner says which
        return ""
    return file.name


def _free() -> None:
    """Let the first model go before the second comes: both might not fit."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
