"""Crops around a face, whose position is in the file name as sd-scripts' tools/detect_face_rotate.py writes it.

All sizes and places are (across, down) in pixels.  Needs no torch.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from engine.data.buckets import Size

_IN_NAME = re.compile(r".*_(\d{1,6})_(\d{1,6})_(\d{1,6})_(\d{1,6})", re.DOTALL)

NUDGED = 40
"""A face whose longer side is shorter than this stays centred."""


@dataclass(frozen=True)
class Face:
    """centre: in the upright picture.  side: the longer one of its box.

    least, most: how many times `side` the shorter side of a crop is to be.
    """

    centre: Size
    side: int
    least: float
    most: float


@dataclass(frozen=True)
class Window:
    """A crop: the picture is scaled to `resized`, and a bucket is cut out with its left and top at `corner`."""

    resized: Size
    corner: Size


def face_of(picture: Path, size: Size, bounds: tuple[float, float]) -> Face | None:
    """Of NAME_X_Y_WIDTH_HEIGHT: the middle of the face's box and its size; None if the name has none.

    size: the picture's.  bounds: a face's least and most.
    """
    named = _IN_NAME.fullmatch(picture.stem)
    if not named:
        return None
    across, down, width, height = map(int, named.groups())
    is_within = 0 < across < size[0] and 0 <= down < size[1]
    return Face((across, down), max(width, height), *bounds) if is_within and max(width, height) else None


def window(face: Face, picture: Size, bucket: Size, anywhere: bool, rng: random.Random) -> Window:
    """A random crop around the face.

    The picture is scaled so that the bucket's shorter side is `least` to `most` times the face; it is never enlarged
    beyond its own size, nor shrunk below covering the bucket, which takes precedence.
    anywhere: the face may be anywhere in the crop, more often near the middle.  Otherwise, if `least` and `most`
    differ, it is moved by at most a twentieth of its own side.
    Source: crop_target() of sd-scripts' library/train_util.py, which fails if a picture does not cover the bucket.
    """
    shorter = min(bucket)
    cover = max(wanted / side for wanted, side in zip(bucket, picture, strict=True))
    smallest = max(cover, min(1.0, shorter / (face.side * face.most)))
    largest = max(smallest, min(1.0, shorter / (face.side * face.least)))
    scale = smallest + rng.random() * (largest - smallest)
    resized = tuple(max(wanted, int(side * scale + 0.5)) for wanted, side in zip(bucket, picture, strict=True))
    is_nudged = face.least != face.most and face.side >= NUDGED and face.side > shorter // 10
    corner = []
    for wanted, side, middle in zip(bucket, resized, face.centre, strict=True):
        middle = int(middle * scale + 0.5)
        reach = max(middle, side - middle)
        off = rng.randint(0, reach) + rng.randint(0, reach) - reach
        nudge = rng.randint(-(face.side // 20), face.side // 20)
        start = middle - wanted // 2 + (off if anywhere else nudge if is_nudged else 0)
        corner.append(min(max(start, 0), side - wanted))
    return Window((resized[0], resized[1]), (corner[0], corner[1]))
