"""The pocket model's little world: flat shapes in eight colours, 64 × 64 pixels, and their captions."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

SIZE = 64
"""Width and height of every picture, in pixels."""

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 220),
    "yellow": (245, 215, 50),
    "cyan": (60, 210, 220),
    "magenta": (215, 60, 200),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
"""Near the corners of the RGB cube, the eight places that lie furthest apart."""

SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar")
"""What the pocket model knows."""

NEW_SHAPE = "heart"
"""What it has never seen: the concept that a newcomer teaches it."""

POINTED_SHAPE = "star"
"""Only the autoencoder has seen it: sharp corners in all directions are what it finds hardest."""

Outline = list[tuple[float, float]]
"""Corners of a shape around (0, 0), right and down, within [-1, 1]."""

_OVERSAMPLING = 4


@dataclass(frozen=True)
class Scene:
    """One picture: a shape of one colour on a ground of another.

    x, y: centre of the shape in pixels.  radius: half its extent in pixels.
    """

    shape: str
    color: str
    ground: str
    x: float = SIZE / 2
    y: float = SIZE / 2
    radius: float = 20.0

    def caption(self) -> str:
        return f"a {self.color} {self.shape} on a {self.ground} background"


def random_scene(rng: random.Random, shapes: tuple[str, ...] = SHAPES) -> Scene:
    """A shape anywhere it fits whole, in two different colours."""
    color, ground = rng.sample(list(COLORS), 2)
    radius = rng.uniform(14, 24)
    margin = radius + 2
    return Scene(
        shape=rng.choice(shapes),
        color=color,
        ground=ground,
        x=rng.uniform(margin, SIZE - margin),
        y=rng.uniform(margin, SIZE - margin),
        radius=radius,
    )


def random_caption(scene: Scene, rng: random.Random) -> str:
    """The scene in one of several wordings, some of which leave something out."""
    wordings = (
        (0.70, scene.caption()),
        (0.80, f"{scene.color} {scene.shape}, {scene.ground} background"),
        (0.90, f"a picture of a {scene.color} {scene.shape} on a {scene.ground} background"),
        (0.96, f"a {scene.color} {scene.shape}"),
        (1.00, f"a {scene.shape} on a {scene.ground} background"),
    )
    choice = rng.random()
    return next(text for limit, text in wordings if choice <= limit)


def draw(scene: Scene, outline: Outline | None = None) -> Image.Image:
    """The scene as an RGB picture of SIZE × SIZE pixels with smooth edges.

    outline: drawn in place of the shape of the scene's name.
    """
    big = Image.new("L", (SIZE * _OVERSAMPLING, SIZE * _OVERSAMPLING), 0)
    canvas, x, y, radius = ImageDraw.Draw(big), *(_OVERSAMPLING * n for n in (scene.x, scene.y, scene.radius))
    if outline is None:
        draw_shape(canvas, scene.shape, x, y, radius)
    else:
        _draw_outline(canvas, outline, x, y, radius)
    mask = big.resize((SIZE, SIZE), Image.Resampling.BOX)
    picture = Image.new("RGB", (SIZE, SIZE), COLORS[scene.ground])
    picture.paste(COLORS[scene.color], mask=mask)
    return picture


def draw_shape(canvas: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float) -> None:
    """Draw `shape` in white, centred on (x, y) and reaching `radius` pixels from there."""
    left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    if shape == "circle":
        canvas.ellipse((left, top, right, bottom), fill=255)
    elif shape == "square":
        side = radius * 0.85
        canvas.rectangle((x - side, y - side, x + side, y + side), fill=255)
    elif shape == "triangle":
        canvas.polygon([(x, top), (right, y + 0.8 * radius), (left, y + 0.8 * radius)], fill=255)
    elif shape == "cross":
        arm = radius * 0.36
        canvas.rectangle((left, y - arm, right, y + arm), fill=255)
        canvas.rectangle((x - arm, top, x + arm, bottom), fill=255)
    elif shape == "ring":
        hole = radius * 0.52
        canvas.ellipse((left, top, right, bottom), fill=255)
        canvas.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    elif shape == "bar":
        canvas.rectangle((left, y - 0.38 * radius, right, y + 0.38 * radius), fill=255)
    elif shape in _OUTLINES:
        _draw_outline(canvas, _OUTLINES[shape], x, y, radius)
    else:
        raise ValueError(f"There is no shape {shape!r}; there are {', '.join((*SHAPES, *_OUTLINES))}.")


def _draw_outline(canvas: ImageDraw.ImageDraw, outline: Outline, x: float, y: float, radius: float) -> None:
    canvas.polygon([(x + right * radius, y + down * radius) for right, down in outline], fill=255)


def _star() -> Outline:
    lengths = [1.0, 0.42] * 5
    angles = [math.pi * corner / 5 for corner in range(10)]
    return [(n * math.sin(angle), -n * math.cos(angle)) for n, angle in zip(lengths, angles, strict=True)]


def _heart(corners: int = 60) -> Outline:
    """The usual heart curve: x = 16 sin³t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t."""
    angles = [2 * math.pi * corner / corners for corner in range(corners)]
    return [
        (
            16 * math.sin(t) ** 3 / 17,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17,
        )
        for t in angles
    ]


_OUTLINES: dict[str, Outline] = {NEW_SHAPE: _heart(), POINTED_SHAPE: _star()}
