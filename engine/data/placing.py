"""The size each picture is trained at, from its own size and the settings.  Needs no torch."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from engine.data.buckets import Buckets, Placed, Size
from engine.data.examining import examine
from engine.failure import Failure
from engine.settings.dataset import Dataset


def placed(pictures: list[Path], settings: Dataset) -> list[Placed]:
    """Every picture's bucket, or without buckets the training size.  Raises Failure naming one without a size."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        sizes = list(pool.map(upright_size, pictures))
    place = buckets_of(settings).place if settings.enable_bucket else lambda size: covering(size, settings.size())
    return [replace(place(size), original=size) for size in sizes]


def buckets_of(settings: Dataset) -> Buckets:
    (width, height), (least, most) = settings.size(), bucket_bounds(settings)
    return Buckets(width * height, settings.bucket_reso_steps, least, most, upscale=not settings.bucket_no_upscale)


def bucket_bounds(settings: Dataset) -> tuple[int, int]:
    """(shortest, longest) side of a bucket in pixels, rounded down and up to multiples of the steps.

    Source: sd-scripts' adjust_min_max_bucket_reso_by_steps; a shortest side of 0, which that can give, is one step.
    """
    steps = settings.bucket_reso_steps
    return max(steps, settings.min_bucket_reso // steps * steps), -(-settings.max_bucket_reso // steps) * steps


def covering(picture: Size, wanted: Size) -> Placed:
    """The picture scaled until it covers the wanted size."""
    scale = max(wanted[0] / picture[0], wanted[1] / picture[1])
    return Placed(wanted, (int(picture[0] * scale + 0.5), int(picture[1] * scale + 0.5)))


def upright_size(picture: Path) -> Size:
    """Width and height after rotation by EXIF; for most formats only the header is read.  Raises Failure."""
    found = examine(picture, decode=False)
    if found.left_out:
        raise Failure(
            f"The picture {picture} cannot be read: {found.left_out}.", "Remove or replace it.", "train_data_dir"
        )
    return found.size
