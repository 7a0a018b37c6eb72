"""What a picture looks like: a thumbnail, made once, with measurements for finding copies and blur.  Needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.data.examining import examine, reason
from engine.data.opening import opened, read_for_a_look
from engine.data.thumbnails import thumbnails_root, tidy_at_times, used
from engine.disk import written_whole

THUMBNAIL = 256
"""Pixels of a thumbnail's longer side."""

MEASURED = 512
"""Pixels of the longer side at which sharpness is measured: on larger pictures it would measure noise."""

_VERSION = 1
"""Version of the format; thumbnails of another version are made again."""


@dataclass(frozen=True)
class Look:
    """thumbnail: its file.  unreadable: why there is none.

    dhash: 64 bits, whether each of 8 × 8 places is darker than its right neighbour (N. Krawetz 2013, "Kind of Like
    That").  colours: 4 × 4 × RGB, which the hash ignores.
    sharpness: variance of the Laplacian of grey 0 … 255 (Pech-Pacheco et al. 2000, "Diatom autofocusing").
    """

    thumbnail: Path | None = None
    dhash: int = 0
    colours: bytes = b""
    sharpness: float = 0.0
    unreadable: str = ""


def look(picture: Path) -> Look:
    """The picture's look: the stored one if path, time and size of the file match, otherwise a new one."""
    try:
        stat = picture.stat()
    except OSError as error:
        return Look(unreadable=str(error.strerror))
    name = f"{_VERSION}\0{picture.absolute()}\0{stat.st_mtime_ns}\0{stat.st_size}"
    key = hashlib.sha256(os.fsencode(name)).hexdigest()[:40]
    thumbnail = thumbnails_root() / key[:2] / f"{key}.jpg"
    return _kept(thumbnail) or _made(picture, thumbnail)


def is_there(look: Look | None) -> bool:
    """Whether a look can be shown: the thumbnails of a page left open for days may be gone."""
    return look is not None and (look.thumbnail is None or look.thumbnail.exists())


def looks_of(pictures: Sequence[Path]) -> Iterator[tuple[Path, Look]]:
    """Each picture's look in order, as soon as it is known; made only as long as they are requested."""
    tidy_at_times()
    pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="look")
    try:
        yield from zip(pictures, pool.map(look, pictures), strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def dhash(grey: Image.Image) -> int:
    """See Look.  Of any size."""
    small = np.asarray(grey.resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int16)
    bits = (small[:, :-1] < small[:, 1:]).flatten()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sharpness(grey: npt.NDArray[np.float32]) -> float:
    """Variance of the Laplacian over all pixels with four neighbours; 0 if there are none."""
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def _made(picture: Path, thumbnail: Path) -> Look:
    found = examine(picture, decode=False)
    if found.left_out:
        return Look(unreadable=found.left_out)
    longest = max(found.size)
    scale = min(1.0, MEASURED / longest)
    width, height = (max(1, round(side * scale)) for side in found.size)
    try:
        image = read_for_a_look(picture, (width, height))
    except Exception as error:  # pillow's decoders raise many kinds of errors
        return Look(unreadable=reason(error))
    grey = image.convert("L")
    figures: dict[str, str | float] = {
        "dhash": f"{dhash(grey):016x}",
        "colours": image.resize((4, 4), Image.Resampling.BOX).tobytes().hex(),
        "sharpness": round(sharpness(np.asarray(grey, dtype=np.float32)), 2),
    }
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    with written_whole(thumbnail, waits=False) as new:
        image.save(new, "JPEG", quality=85, comment=json.dumps(figures).encode())
    return _look_of(thumbnail, figures)


@lru_cache(maxsize=50_000)
def _read(thumbnail: Path, _modified: int) -> Look | None:
    try:
        with opened(thumbnail) as image:
            return _look_of(thumbnail, json.loads(image.info["comment"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # somebody else's file: it is overwritten


def _kept(thumbnail: Path) -> Look | None:
    try:
        kept = _read(thumbnail, thumbnail.stat().st_mtime_ns)
    except OSError:
        return None
    used(thumbnail)
    return kept


def _look_of(thumbnail: Path, figures: dict[str, str | float]) -> Look:
    return Look(
        thumbnail,
        int(str(figures["dhash"]), 16),
        bytes.fromhex(str(figures["colours"])),
        float(figures["sharpness"]),
    )
