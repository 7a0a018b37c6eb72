"""Resizing of pictures with 8 bits per channel, as in sd-scripts.  Needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from engine.data.buckets import Size

Array = np.ndarray[Any, Any]

STRIP = 16
"""Rows computed at a time, so that their inputs stay in the processor's cache."""


def scaled(image: Image.Image, size: Size) -> Image.Image:
    """RGB or RGBA at another size, each channel separately: by area if no side grows, otherwise by Lanczos.

    Source: sd-scripts' resize_image without resize_interpolation.
    """
    if shrinks(image.size, size):
        return Image.fromarray(by_area(np.asarray(image), size))
    # Channel by channel: pillow would turn transparent parts of an RGBA black.
    channels = [channel.resize(size, Image.Resampling.LANCZOS) for channel in image.split()]
    return Image.merge(image.mode, channels)


def shrinks(before: Size, after: Size) -> bool:
    """Whether scaled() scales by area."""
    return before != after and before[0] >= after[0] and before[1] >= after[1]


def by_area(pixels: Array, size: Size) -> Array:
    """Every new pixel is the mean of the area that it covers, parts of pixels included: OpenCV's INTER_AREA.

    pixels: (height, width, channels) in 0..255.  size: (width, height), neither larger.  Returns (height, width,
    channels) in 0..255.  pillow's BOX counts pixels fully or not at all.
    """
    width, height = size
    rows, row_shares = _covered(pixels.shape[0], height)
    columns, column_shares = _covered(pixels.shape[1], width)
    new = np.empty((height, width, pixels.shape[2]), np.uint8)
    for start in range(0, height, STRIP):
        strip = slice(start, start + STRIP)
        lines = _weighed(pixels, rows[strip], row_shares[strip])
        upended = np.ascontiguousarray(lines.transpose(1, 0, 2))
        new[strip] = np.rint(_weighed(upended, columns, column_shares).transpose(1, 0, 2))
    return new


def _weighed(lines: Array, places: Array, shares: Array) -> Array:
    """lines: (n, …).  places, shares: (m, k).  Returns (m, …): each the sum of k lines times their shares."""
    total = np.zeros((len(places), *lines.shape[1:]), np.float32)
    for place, share in zip(places.T, shares.T, strict=True):
        total += lines[place] * share[:, None, None]
    return total


def _covered(before: int, after: int) -> tuple[Array, Array]:
    """(the pixels of a row that each new one covers, with their shares): both (after, k)."""
    edges = np.linspace(0, before, after + 1)
    first = np.floor(edges[:-1]).astype(np.int64)
    places = first[:, None] + np.arange(int(np.ceil(before / after)) + 1)
    covered = np.minimum(places + 1, edges[1:, None]) - np.maximum(places, edges[:-1, None])
    shares = covered.clip(0) * (after / before)
    return np.minimum(places, before - 1), shares.astype(np.float32)
