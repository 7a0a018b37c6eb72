"""Pictures grouped by shape, so many to a folder: those of a folder fill batches of their own.  All is copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from engine.data.examining import examined
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import like, option
from engine.settings.values import JobSettings
from engine.tools.copying import Converting, copy_all, destination_failures
from engine.tools.folder_work import Outcome, counted
from engine.tools.layout import Plan, beside
from engine.tools.pictures import PictureFolder, pictures_of


class Grouped(PictureFolder):
    train_data_dir: str = like(
        PictureFolder,
        "train_data_dir",
        label="Input folder (containing the images to group)",
        kohya="input_folder",
        help="The folder with the pictures. Captions are copied too.",
    )
    recursive: bool = like(PictureFolder, "recursive", label="Include Subfolders", kohya="include_subfolders")
    output_folder: str = option(
        "",
        label="Output folder (where the grouped images will be stored)",
        section="Pictures",
        widget="folder",
        must_be="given",
        help="A new or empty folder. Each group gets a sub-folder named after its number and average aspect ratio.",
    )
    group_size: int = option(
        4,
        ge=1,
        le=1000,
        label="Group size",
        section="Pictures",
        help="How many pictures of similar aspect ratio form a group. Use the training batch size, so that each group "
        "makes full batches.",
    )


class Settings(JobSettings):
    pictures: Grouped = Field(default_factory=Grouped)
    converting: Converting = Field(default_factory=Converting)

    @classmethod
    def for_pictures(cls, folder: Path, regularisation: str = "") -> dict[str, str]:
        return {"train_data_dir": str(folder), "output_folder": str(beside(folder, "grouped"))}

    def title(self) -> str:
        return f"group-{Path(self.pictures.train_data_dir).name}"

    def failures(self) -> Iterator[Failure]:
        out, source = Path(self.pictures.output_folder), Path(self.pictures.train_data_dir)
        if self.pictures.recursive and out.resolve().is_relative_to(source.resolve()):
            yield Failure(
                "The output folder is inside the input folder, whose sub-folders are included.",
                "Choose another one.",
                "output_folder",
            )
            return
        yield from self.pictures.failures()
        yield from destination_failures(self, [out / "groups"], "output_folder")


def grouped(pictures: list[tuple[Path, float]], size: int) -> list[tuple[float, list[Path]]]:
    """(mean aspect, pictures) of groups of pictures whose aspects, width over height, are next to each other."""
    ordered = sorted(pictures, key=lambda one: (one[1], one[0]))
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return [(sum(aspect for _, aspect in group) / len(group), [picture for picture, _ in group]) for group in groups]


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Copy each group into its folder; pictures that cannot be read are left out."""
    report.stage("looking", detail=settings.pictures.train_data_dir)
    found = examined(pictures_of(settings.pictures, report.left_out), decode=False)
    aspects = []
    for picture, one in found.items():
        if one.left_out:
            report.left_out(picture, one.left_out)
        else:
            aspects.append((picture, one.size[0] / one.size[1]))
    out = Path(settings.pictures.output_folder)
    plan = Plan(settings.converting.ending())
    groups = grouped(aspects, settings.pictures.group_size)
    for number, (aspect, pictures) in enumerate(groups, start=1):
        plan.add(out / "groups" / f"group {number:03d} ({aspect:.2f})", pictures)
    report.stage("working")
    outcome, words = copy_all(settings, out, plan.copies, settings.converting, run, report)
    report.result(f"{words} {counted(len(groups), 'group')}." if outcome[0] == "done" else words)
    return outcome
