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
from engine.tools.folder_work import Outcome, counted
from engine.tools.pictures import PictureFolder, pictures_of

METADATA = "Metadata"


class Merging(Group):
    kind: Literal["caption", "tags"] = option(
        "caption",
        label="Gather as",
        section=METADATA,
        help="What the files contain: captions or tags. A metadata file can have both; collect them one after the "
        "other.",
    )
    out_json: str = option(
        "",
        label="Metadata file to write",
        section=METADATA,
        widget="file",
        must_be="given",
        help="The JSON file to write. If it exists, it is added to, and the old version is kept as a .bak file.",
    )
    in_json: str = option(
        "",
        label="Metadata file to begin with",
        section=METADATA,
        widget="file",
        help="An existing metadata file to start from. Leave empty to start from the file to write, if it exists.",
    )
    full_path: bool = option(
        False,
        label="Use full path",
        section=METADATA,
        help="Identify pictures by their full paths instead of their file names. Needed for more than one folder.",
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
                "Pictures in different folders may have the same name.", "Also turn on Use full path.", "full_path"
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
            report.result("Stopped. The metadata file was not changed.")
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
    report.result(f"{counted(gathered, 'picture')} collected; {out} has {counted(len(metadata), 'entry', 'entries')}.")
    return "done", gathered
