"""Which pictures can be trained on, and what is done about odd ones.  Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from PIL import Image

from engine.data.buckets import Size
from engine.data.folders import of_other_kinds, short
from engine.data.opening import SIXTEEN_BITS, has_alpha, opened, orientation, upright_size_of
from engine.data.structure import seems_whole

LONGEST = 32
"""Largest ratio of a picture's sides. No bucket is near such a shape, and to cover one it would be scaled to hundreds
of millions of pixels."""

SMALL = 64
"""Pixels: a side below it is less than any bucket's."""

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".avif": "AVIF", ".jxl": "JXL"}
SAME_KIND = {"MPO": "JPEG", "DIB": "BMP"}
"""Photos from two lenses are JPEGs with a second picture after the first."""

OTHER_KIND = "files of this kind are not read"


@dataclass(frozen=True)
class Examined:
    """size: after rotation by EXIF.  left_out: why it cannot be trained on.  mended: what was corrected.

    turned: whether it is rotated in its file.  see_through: whether it has transparency.
    """

    size: Size = (0, 0)
    left_out: str = ""
    turned: bool = False
    see_through: bool = False
    mended: tuple[str, ...] = ()


def examined(pictures: list[Path], decode: bool = True, unless_whole: bool = False) -> dict[Path, Examined]:
    """Examine every picture; without decoding, truncated files pass.  A file is examined once until it changes.

    unless_whole: do not decode pictures whose files seem complete, for pictures that will be decoded soon anyway.
    """

    def look(picture: Path) -> Examined:
        found = examine(picture, decode=False)
        passes = found.left_out or not decode or (unless_whole and _seems_whole(picture))
        return found if passes else examine(picture)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(pictures, pool.map(look, pictures), strict=True))


def examine(picture: Path, decode: bool = True) -> Examined:
    try:
        stat = picture.stat()
    except OSError as error:
        return Examined(left_out=str(error.strerror))
    header = _header(picture, stat.st_mtime_ns, stat.st_size)
    if decode and not header.left_out:
        return replace(header, left_out=_decoded(picture, stat.st_mtime_ns, stat.st_size))
    return header


def _seems_whole(picture: Path) -> bool:
    try:
        stat = picture.stat()
        return _whole(picture, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return False


def told(found: dict[Path, Examined], most: int = 20) -> list[str]:
    """A sentence about everything left out, including pictures of other kinds, and one about everything corrected;
    empty if there is nothing to say.
    """
    out: dict[str, list[Path]] = {}
    mended: dict[str, list[Path]] = {}
    for picture, one in found.items():
        if one.left_out:
            out.setdefault(one.left_out, []).append(picture)
        for what in () if one.left_out else one.mended:
            mended.setdefault(what, []).append(picture)
    for file in of_other_kinds(picture.parent for picture in found if picture.parent.is_dir()):
        out.setdefault(OTHER_KIND, []).append(file)
    return [
        f"{verb}: {'; '.join(f'{_names(files, most)} ({why})' for why, files in groups.items())}."
        for verb, groups in (("Pictures left out", out), ("Pictures corrected while reading", mended))
        if groups
    ]


def _names(files: list[Path], most: int) -> str:
    more = f" and {len(files) - most} more" if len(files) > most else ""
    return ", ".join(f'"{short(file)}"' for file in files[:most]) + more


def reason(error: Exception) -> str:
    """Why pillow could not read a file, in a few words; the path that it names is the user's own."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is not a picture that can be read"
    return str(getattr(error, "strerror", None) or error).split(" '", 1)[0] or type(error).__name__


@lru_cache(maxsize=200_000)
def _header(picture: Path, _modified: int, bytes_: int) -> Examined:
    try:
        with opened(picture) as image:
            width, height = size = upright_size_of(image)
            if min(size) < 1 or max(size) > LONGEST * min(size):
                return Examined(left_out=f"its shape of {width}×{height} fits no bucket")
            mended = tuple(_oddities(picture, image))
            return Examined(size, "", orientation(image) != 1, has_alpha(image), mended)
    except Image.UnidentifiedImageError as error:
        return Examined(left_out=reason(error) if bytes_ else "the file is empty")
    except Exception as error:  # pillow's decoders raise many kinds of errors, including SyntaxError and struct.error
        return Examined(left_out=reason(error))


def _oddities(picture: Path, image: Image.Image) -> Iterable[str]:
    kind = SAME_KIND.get(image.format or "", image.format)
    if kind != KINDS.get(picture.suffix.lower(), kind):
        yield f"actually a {kind} file, and read as one"
    if orientation(image) != 1:
        yield "rotated according to EXIF"
    if image.mode in SIXTEEN_BITS:
        yield "reduced from 16 to 8 bits per channel"
    if image.mode == "CMYK":
        yield "CMYK turned into RGB"
    if has_alpha(image):
        yield "transparency dropped, so the colors beneath it show"
    if kind != "JPEG" and getattr(
        image, "is_animated", False
    ):  # a GIF's frames are not counted, because that would read all of it
        yield "only the first of several frames is used"
    if min(image.size) < SMALL:
        yield f"enlarged from less than {SMALL} pixels"


@lru_cache(maxsize=200_000)
def _decoded(picture: Path, _modified: int, _bytes: int) -> str:
    try:
        with opened(picture) as image:
            image.draft("RGB", (64, 64))  # only JPEG can decode a small version, much faster
            image.load()
    except Exception as error:
        return reason(error)
    return ""


@lru_cache(maxsize=200_000)
def _whole(picture: Path, _modified: int, _bytes: int) -> bool:
    return seems_whole(picture)
