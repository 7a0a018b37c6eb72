"""Random areas of a picture for an inpainting model to fill in.  Needs no torch."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from engine.data.buckets import Size

WHOLE = 0.25
"""Share of pictures that are masked completely, as in the training of Stable Diffusion's own inpainting models."""

STROKES = 0.5
"""Share of the others that are masked by strokes; the rest by rectangles."""

OPEN, KEPT = 255, 0


def hole(size: Size, rng: random.Random) -> Image.Image:
    """A mask of this size in mode L, white where to fill in the picture.

    Wide strokes or rectangles, sized relative to the picture's shorter side: the large masks of Suvorov et al. 2021
    (LaMa, arXiv:2109.07161, section 2.3), with figures of our own.
    """
    if rng.random() < WHOLE:
        return Image.new("L", size, OPEN)
    mask = Image.new("L", size, KEPT)
    draw = ImageDraw.Draw(mask)
    add = _stroke if rng.random() < STROKES else _rectangle
    for _ in range(rng.randint(1, 4)):
        add(draw, size, rng)
    return mask


def _stroke(draw: ImageDraw.ImageDraw, size: Size, rng: random.Random) -> None:
    """A brush stroke that moves, turns, and moves on."""
    short = min(size)
    width = max(1, round(short * rng.uniform(0.08, 0.25)))
    x, y, direction = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(0, math.tau)
    points = [(x, y)]
    for _ in range(rng.randint(1, 4)):
        direction += rng.uniform(-1.2, 1.2)
        length = short * rng.uniform(0.15, 0.5)
        x, y = x + length * math.cos(direction), y + length * math.sin(direction)
        points.append((x, y))
    draw.line(points, fill=OPEN, width=width, joint="curve")
    for x, y in points:
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=OPEN)


def _rectangle(draw: ImageDraw.ImageDraw, size: Size, rng: random.Random) -> None:
    sides = [max(1, round(side * rng.uniform(0.15, 0.6))) for side in size]
    left, top = (rng.randint(0, whole - side) for whole, side in zip(size, sides, strict=True))
    draw.rectangle((left, top, left + sides[0] - 1, top + sides[1] - 1), fill=OPEN)
