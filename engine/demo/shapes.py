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

NEW_SHAPE = "star"
"""What it has never seen: the concept that a newcomer teaches it."""

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


def draw(scene: Scene) -> Image.Image:
    """The scene as an RGB picture of SIZE × SIZE pixels with smooth edges."""
    big = Image.new("L", (SIZE * _OVERSAMPLING, SIZE * _OVERSAMPLING), 0)
    draw_shape(
        ImageDraw.Draw(big),
        scene.shape,
        scene.x * _OVERSAMPLING,
        scene.y * _OVERSAMPLING,
        scene.radius * _OVERSAMPLING,
    )
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
    elif shape == "star":
        points = [
            (
                x + length * math.sin(math.pi * corner / 5),
                y - length * math.cos(math.pi * corner / 5),
            )
            for corner, length in enumerate([radius, radius * 0.42] * 5)
        ]
        canvas.polygon(points, fill=255)
    else:
        raise ValueError(f"There is no shape {shape!r}; there are {', '.join((*SHAPES, NEW_SHAPE))}.")
