"""What two captioners look at: copies of a few pictures within the run's folder, the same after each Resume."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.data.folders import PICTURE_ENDINGS
from engine.disk import why_not, write_text_whole, written_whole
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.tools.caption_files import CaptionFiles
from engine.tools.pictures import upright

LIST = "pictures.json"
"""Among a run's drafts: the pictures that were chosen when it first began, in their order."""

PREVIEW = 320
"""Pixels of the longer side of a picture as it is shown."""

LeftOut = Callable[[Path, str], None]
"""Told a picture, and why it is left out."""


def chosen_once(run: RunFolder, choose: Callable[[], list[Path]], left_out: LeftOut) -> dict[int, Path]:
    """The pictures by the numbers that they got at the run's first start, whatever came into their folder since.

    choose: asked at the first start alone.  Those that are gone are told and left out.
    """
    file = run.drafts_folder / LIST
    try:
        listed = [Path(name) for name in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        listed = choose()
        write_text_whole(file, json.dumps([str(picture) for picture in listed]))
    there = {number: picture for number, picture in enumerate(listed) if os.path.isfile(picture)}
    for number, picture in enumerate(listed):
        if number not in there:
            left_out(picture, "is not there any more")
    return there


def copied(
    sources: Mapping[int, Path], chosen: Mapping[int, Path], folder: Path, files: CaptionFiles, left_out: LeftOut
) -> dict[int, Path]:
    """The pictures under their numbers in a folder, with the user's captions, for a captioner may add to these.

    sources: what to copy, by number.  chosen: the user's own.  What cannot be copied is told and left out.
    Raises Failure where the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = {number: folder / f"{number:03}{picture.suffix}" for number, picture in sources.items()}
    for file in list(folder.iterdir()):  # copies of an earlier start whose pictures are gone since
        if file.suffix.lower() in PICTURE_ENDINGS and file not in copies.values():
            file.unlink()
    for number, copy in list(copies.items()):
        if copy.exists():  # of an earlier start, which may have captioned it
            continue
        caption = files.file_of(chosen[number])
        try:
            if caption.is_file():
                _copy(caption, files.file_of(copy))
            _copy(sources[number], copy)  # last, so that one that is there has its caption too
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise Failure("The disk is full.", "Free up some space, then press Resume.") from None
            left_out(chosen[number], f"cannot be copied: {why_not(error)}")
            del copies[number]
    return copies


def preview_of(picture: Path, run: RunFolder, number: int) -> str:
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


def _copy(source: Path, target: Path) -> None:
    with written_whole(target, waits=False) as new:
        shutil.copyfile(source, new)
