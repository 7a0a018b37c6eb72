"""Copying pictures with their captions into a new folder, scaled and converted on the way where that is asked for."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageOps

from engine.data.buckets import Size
from engine.data.examining import examine, reason
from engine.data.opening import has_alpha, in_eight_bits, opened
from engine.disk import why_not, write_text_whole, written_whole
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.files import LARGEST_FILE
from engine.settings.option import Group, option
from engine.settings.text_files import small_text
from engine.settings.values import JobSettings
from engine.tools.folder_work import Outcome
from engine.tools.layout import Copy

UNFINISHED = ".darkroom-unfinished"
"""A file in a destination that is being filled, with the settings that it is filled by."""

SAVING: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
}


class Converting(Group):
    convert_to: Literal["as it is", "png", "jpg", "webp"] = option(
        "as it is",
        label="Convert to",
        section="Pictures",
        help="File format of the copies. JPEG and WebP are saved at quality 95; JPEG has no transparency.",
    )
    shorter_side: int = option(
        0,
        ge=0,
        le=16384,
        label="Shorter side at most",
        section="Pictures",
        help="Scale larger pictures down until their shorter side has this many pixels; 0 keeps the original size.",
    )

    def ending(self) -> str:
        """Of the copies; nothing where they keep their own."""
        return "" if self.convert_to == "as it is" else f".{self.convert_to}"

    def changes(self, size: Size) -> bool:
        """Whether a picture of this size is decoded and written anew, rather than copied as it is."""
        return bool(self.ending()) or 0 < self.shorter_side < min(size)


def destination_failures(settings: JobSettings, folders: Sequence[Path], option: str) -> Iterator[Failure]:
    """What stands in the way: folders that hold something already, unless these settings began to fill them."""
    for folder in folders:
        try:
            has_something = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        except OSError as error:
            yield Failure(f"{folder} cannot be read: {why_not(error)}.", "Choose another folder.", option)
            return
        if has_something and not _begun_by(settings, folder.parent):
            yield Failure(
                f"{folder} is not empty.", "Choose another folder; existing files are never replaced.", option
            )
            return


def copy_all(
    settings: JobSettings,
    destination: Path,
    planned: list[Copy],
    converting: Converting,
    run: RunFolder,
    report: Report,
) -> tuple[Outcome, str]:
    """Copy what is not there yet.  Returns the outcome, and what was done in words.

    Raises Failure where the disk is full or the destination cannot be written to.
    """
    mark = destination / UNFINISHED
    try:
        write_text_whole(mark, settings.model_dump_json())
    except OSError as error:
        raise Failure(f"{destination} cannot be written to: {why_not(error)}.", "Choose another folder.") from None
    control = run.control()
    done = left = 0
    for number, copy in enumerate(planned, start=1):
        if "stop" in control.take():
            return ("stopped", done), f"Stopped after {done} of {len(planned)} pictures. Resume continues from there."
        try:
            _copy(copy, converting)
            done += 1
        except Exception as error:  # pillow's decoders raise many kinds
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise Failure("The disk is full.", "Free up some space, then press Resume.") from None
            left += 1
            report.left_out(copy.picture, f"cannot be copied: {reason(error)}")
        report.progress(number, len(planned), last=copy.target.name)
    mark.unlink(missing_ok=True)
    out = f" {left} left out." if left else ""
    return ("done", done), f"{done} pictures copied to {destination}.{out}"


def _copy(copy: Copy, converting: Converting) -> None:
    """A picture with its captions and score; the picture last, so that one that is there has them too."""
    if copy.target.exists():
        return
    found = examine(copy.picture, decode=False)
    if found.left_out:
        raise ValueError(found.left_out)
    for source, target in copy.companions:
        with written_whole(target, waits=False) as new:
            shutil.copyfile(source, new)
    with written_whole(copy.target, waits=False) as new:
        if converting.changes(found.size):
            _converted(copy.picture, new, converting, copy.target.suffix.lower())
        else:
            shutil.copyfile(copy.picture, new)


def _converted(source: Path, target: Path, converting: Converting, ending: str) -> None:
    """Upright, no larger than asked for, as a file of the kind that the ending says."""
    saving = SAVING.get(".jpg" if ending == ".jpeg" else ending, {"format": ending.removeprefix(".").upper()})
    with opened(source) as image:
        profile = image.info.get("icc_profile")
        mode, alpha = image.mode, has_alpha(image) and saving["format"] != "JPEG"
        picture = in_eight_bits(ImageOps.exif_transpose(image), alpha)
    shorter = min(picture.size)
    if 0 < converting.shorter_side < shorter:
        width, height = (max(1, round(side * converting.shorter_side / shorter)) for side in picture.size)
        channels = [one.resize((width, height), Image.Resampling.LANCZOS) for one in picture.split()]
        picture = Image.merge(picture.mode, channels)  # as a whole, pillow turns what is transparent black
    if profile and mode in ("RGB", "RGBA", "P"):  # a profile of grey or CMYK does not fit what was made of it
        saving = {**saving, "icc_profile": profile}
    picture.save(target, **saving)


def _begun_by(settings: JobSettings, destination: Path) -> bool:
    try:
        return small_text(destination / UNFINISHED, LARGEST_FILE) == settings.model_dump_json()
    except (OSError, ValueError):
        return False
