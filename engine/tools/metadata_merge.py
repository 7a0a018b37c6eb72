"""Captions or tags of a folder gathered in a metadata file, as sd-scripts' finetune/merge_*_to_metadata.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine.disk import why_not
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.settings.values import JobSettings
from engine.tools import metadata_file
from engine.tools.caption_files import CaptionFiles, read_caption
from engine.tools.captioning import Outcome, counted
from engine.tools.pictures import PictureFolder, pictures_of

METADATA = "Metadata"


class Merging(Group):
    kind: Literal["caption", "tags"] = option(
        "caption",
        label="Gather as",
        section=METADATA,
        help="What the files hold: sentences, or tags. A metadata file may have both, gathered one after the other.",
    )
    out_json: str = option(
        "",
        label="Metadata file to write",
        section=METADATA,
        widget="file",
        must_be="given",
        help="The JSON file. One that is there is gone on with, and its old state kept as a .bak file.",
    )
    in_json: str = option(
        "",
        label="Metadata file to begin with",
        section=METADATA,
        widget="file",
        help="Another metadata file to add to; empty for the one to write, where it is there.",
    )
    full_path: bool = option(
        False,
        label="Use full path",
        section=METADATA,
        help="Pictures are known by their whole paths rather than their names: needed for several folders.",
    )


class Settings(JobSettings):
    pictures: PictureFolder = Field(default_factory=PictureFolder)
    files: CaptionFiles = Field(default_factory=CaptionFiles)
    merging: Merging = Field(default_factory=Merging)

    def title(self) -> str:
        return f"metadata-{Path(self.pictures.train_data_dir).name}"

    def failures(self) -> Iterator[Failure]:
        if self.pictures.recursive and not self.merging.full_path:
            yield Failure(
                "Pictures of several folders may have the same name.", "Turn on Use full path as well.", "full_path"
            )
        if self.merging.in_json and not Path(self.merging.in_json).is_file():
            yield Failure(f"There is no file {self.merging.in_json}.", "Correct the path.", "in_json")
        yield from self.files.failures()
        yield from self.pictures.failures()


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Gather; pictures without a caption file are left out, and nothing is written before all were looked at."""
    merging = settings.merging
    out = Path(merging.out_json)
    begun = Path(merging.in_json) if merging.in_json else out
    metadata = metadata_file.read(begun, "in_json") if merging.in_json or out.exists() else {}
    pictures = pictures_of(settings.pictures, report.left_out)
    control = run.control()
    gathered = 0
    for number, picture in enumerate(pictures, start=1):
        if "stop" in control.take():
            report.result("Stopped; the metadata file is as it was.")
            return "stopped", 0
        try:
            caption = read_caption(settings.files.file_of(picture))
        except (OSError, ValueError) as error:
            report.left_out(picture, why_not(error) if isinstance(error, OSError) else str(error))
            continue
        if caption is None:
            report.left_out(picture, "has no caption file")
            continue
        key = str(picture) if merging.full_path else picture.stem
        metadata.setdefault(key, {})[merging.kind] = caption
        gathered += 1
        report.progress(number, len(pictures))
    metadata_file.write(out, metadata, "out_json")
    report.result(f"{counted(gathered, 'picture')} gathered; {out} has {counted(len(metadata), 'entry', 'entries')}.")
    return "done", gathered
