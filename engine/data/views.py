"""How a picture is shown this time: flipped, cropped elsewhere, with slightly different colours.  Needs no torch."""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from engine.data.buckets import Placed
from engine.data.faces import Window, window
from engine.data.source import Source

FLIP_CHANCE = 0.5
COLOUR_CHANCE = 0.33
"""How often a picture's colours are varied: half of these times its hue, otherwise its brightness. As in sd-scripts."""

MOST_HUE = 16 / 360
"""Share of the colour circle, in either direction."""

GAMMA = (0.95, 1.05)


@dataclass(frozen=True)
class View:
    """crop: the bucket's position within the scaled picture, from (0, 0) for top left to (1, 1); centred without one.
    window: scale and crop around a face, instead.
    hue: rotation of the colour circle, in turns.  gamma: exponent of the brightness in [0, 1].
    """

    flipped: bool = False
    crop: tuple[float, float] | None = None
    window: Window | None = None
    hue: float = 0.0
    gamma: float = 1.0

    def placed(self, place: Placed) -> Placed:
        """How the picture is scaled and cropped this time; around a face it counts as uncropped, as in sd-scripts."""
        return Placed(place.bucket, self.window.resized, original=place.bucket) if self.window else place


def view_of(source: Source, rng: random.Random) -> View:
    """How a picture is shown this time; the same random numbers are drawn whatever varies."""
    flip, left, top, vary, which, much = (rng.random() for _ in range(6))
    varied = source.color_aug and vary <= COLOUR_CHANCE
    face, place = source.face, source.place
    return View(
        flipped=source.flips and flip < FLIP_CHANCE,
        crop=(left, top) if source.random_crop else None,
        window=window(face, place.original, place.bucket, source.random_crop, rng) if face else None,
        hue=(2 * much - 1) * MOST_HUE if varied and which > 0.5 else 0.0,
        gamma=GAMMA[0] + much * (GAMMA[1] - GAMMA[0]) if varied and which <= 0.5 else 1.0,
    )


def coloured(image: Image.Image, view: View) -> Image.Image:
    """An RGB picture with the view's hue and brightness."""
    if view.hue:
        hue, saturation, value = image.convert("HSV").split()
        turned = hue.point([round(step + view.hue * 256) % 256 for step in range(256)])
        return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    if view.gamma != 1:
        return image.point([round(255 * (step / 255) ** view.gamma) for step in range(256)] * 3)
    return image
