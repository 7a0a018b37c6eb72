"""Which size each picture is trained at, by its own size and the settings.  Needs no torch."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from PIL import Image

from engine.data.buckets import Buckets, Placed, Size
from engine.failure import Failure
from engine.settings.dataset import Dataset

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations of photos whose width and height are to be exchanged."""


def placed(pictures: list[Path], settings: Dataset) -> list[Placed]:
    """Every picture's bucket, or without buckets the training size.  Raises Failure naming one that has no size."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        sizes = list(pool.map(upright_size, pictures))
    place = buckets_of(settings).place if settings.enable_bucket else lambda size: covering(size, settings.size())
    return [replace(place(size), original=size) for size in sizes]


def buckets_of(settings: Dataset) -> Buckets:
    width, height = settings.size()
    return Buckets(
        width * height,
        settings.bucket_reso_steps,
        settings.min_bucket_reso,
        settings.max_bucket_reso,
        upscale=not settings.bucket_no_upscale,
    )


def covering(picture: Size, wanted: Size) -> Placed:
    """The picture scaled until it covers the wanted size."""
    scale = max(wanted[0] / picture[0], wanted[1] / picture[1])
    return Placed(wanted, (int(picture[0] * scale + 0.5), int(picture[1] * scale + 0.5)))


def upright_size(picture: Path) -> Size:
    """Width and height after turning upright by EXIF; of most formats only the header is read."""
    try:
        stat = picture.stat()
        return _upright_size(picture, stat.st_mtime_ns, stat.st_size)
    except Exception as error:  # pillow's decoders raise many kinds
        raise Failure(
            f"The picture {picture} cannot be read: {error}.", "Remove or replace it.", "train_data_dir"
        ) from error


@lru_cache(maxsize=100_000)
def _upright_size(picture: Path, _modified: int, _size: int) -> Size:
    with Image.open(picture) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE else (width, height)
