"""Two captioners on a handful of pictures, to be read beside each other before one of them goes through all.

Each works as it always does, on copies within the run's folder: nothing of the user's is written.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from collections.abc import Iterator
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
from engine.tools.caption_files import read_caption
from engine.tools.captioning import CaptionerSettings
from engine.tools.compare_copies import chosen_once, copied, preview_of
from engine.tools.folder_work import Outcome, counted
from engine.tools.pictures import PictureFolder, pictures_of

Name = Literal["WD14", "BLIP", "BLIP-2", "GIT", "Florence-2", "Qwen-VL"]
"""The captioners that have a model, as their tabs are called."""

CAPTIONERS, SOME = "Captioners", "Pictures"

OPTIONS = ("first_options", "second_options")
"""Those that the page fills from the captioners' own tabs."""


class Pictures(PictureFolder):
    train_data_dir: str = like(
        PictureFolder,
        "train_data_dir",
        label="Image folder",
        help="The folder with the pictures. Nothing is written there.",
    )
    count: int = option(
        4,
        ge=1,
        le=50,
        label="Number of pictures",
        section=SOME,
        help="A handful is enough to see how each captioner writes.",
    )
    which: Literal["first", "random"] = option(
        "first", label="Which pictures", section=SOME, help="The first ones by name, or a random selection."
    )
    seed: int = option(
        0,
        ge=0,
        label="Seed",
        section=SOME,
        help="A different seed selects different pictures.",
        applies_when={"which": ("random",)},
    )

    def chosen(self, pictures: list[Path]) -> list[Path]:
        """So many of the pictures, in their order."""
        if self.which == "first" or len(pictures) <= self.count:
            return pictures[: self.count]
        return sorted(random.Random(self.seed).sample(pictures, self.count))


class Two(Group):
    first: Name = option(
        "BLIP", label="First captioner", section=CAPTIONERS, help="Uses the settings from its own tab."
    )
    second: Name = option(
        "WD14", label="Second captioner", section=CAPTIONERS, help="Uses the settings from its own tab."
    )
    first_options: str = option(
        "{}",
        label="Options of the first",
        widget="none",
        section=CAPTIONERS,
        help='As JSON, such as {"max_length": 40}; anything left out keeps its default.',
    )
    second_options: str = option(
        "{}",
        label="Options of the second",
        section=CAPTIONERS,
        widget="none",
        help="The same for the second captioner.",
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
        raise Failure(f"{options[:80]!r} is not a JSON object.", 'Enter {"OPTION": VALUE, …}.', option_name) from None
    fixed = {"train_data_dir": folder, "recursive": False, "overwrite": True}
    try:
        settings = job_of(name).settings_class()().with_values(given | fixed)
    except KeyError as error:
        raise Failure(f"{name} has no option {error.args[0]}.", "Remove it.", option_name) from None
    except BadValues as error:
        raise Failure(f"{name}: {error}", "Correct it on its tab.", option_name) from None
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
    pictures = settings.pictures
    chosen = chosen_once(run, lambda: pictures.chosen(pictures_of(pictures, report.left_out)), report.left_out)
    sources, previews = chosen, dict[int, str]()
    for place, (name, options, _) in enumerate(settings.sides()):
        folder = run.drafts_folder / str(place)
        inner = captioner_settings(name, options, str(folder / "pictures"))
        copies = copied(sources, chosen, folder / "pictures", inner.files, report.left_out)
        names = {copy.name: chosen[number] for number, copy in copies.items()}
        if place == 0:  # both see what was copied first, and so does the user, whatever becomes of the files
            if not copies:
                raise Failure("None of the chosen pictures can be read.", "Start a new comparison.", "train_data_dir")
            sources = copies
            previews = {number: preview_of(copy, run, number) for number, copy in copies.items()}
        part = _Part(report, names, place * len(copies), 2 * len(copies))
        how, _ = job_of(name).load()(inner, _Draft(folder, run), part)
        if how == "stopped":
            report.result("Stopped. Resume continues where it left off.")
            return "stopped", place * len(copies)
        for number, copy in copies.items():
            report.event(
                Captioned(
                    place=place,
                    captioner=name,
                    file=shown_name(Path(chosen[number].name)),
                    preview=previews[number],
                    caption=_said(inner.files.file_of(copy)),
                )
            )
        _free()
    report.result(f"{counted(len(sources), 'picture')} captioned by both. None of your captions were changed.")
    return "done", len(sources)


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


def _said(file: Path) -> str:
    try:
        return read_caption(file) or ""
    except (OSError, ValueError):
        return ""


def _free() -> None:
    """Let the first model go before the second comes: both might not fit."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
