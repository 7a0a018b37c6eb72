"""Says which shape in which colours a picture shows, by arithmetic alone: nothing here was trained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from engine.demo.shapes import COLORS, NEW_SHAPE, SHAPES, SIZE, Scene, draw_shape, random_scene

_GRID = 48
_LEAST_OVERLAP = 0.60
_PALETTE = np.array(list(COLORS.values()), dtype=float)


@dataclass(frozen=True)
class Verdict:
    """What a picture shows.  shape is None where no known shape fits it.

    overlap: intersection over union of the picture's figure with the ideal shape, in [0, 1].
    """

    shape: str | None
    color: str
    ground: str
    overlap: float


def judge(picture: Image.Image) -> Verdict:
    """Name the ground by the picture's border, then the figure by the shape that overlaps it best.

    A pixel belongs to the figure where it lies nearer to the figure's colour than to the ground's;
    the figure is scaled to its bounding box and compared with every shape drawn into the same box.
    """
    pixels = np.asarray(picture.convert("RGB").resize((SIZE, SIZE)), dtype=float)
    border = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3),
                             pixels[:, :2].reshape(-1, 3), pixels[:, -2:].reshape(-1, 3)])  # fmt: skip
    ground_pixel = np.median(border, axis=0)
    ground = _nearest_color(ground_pixel)

    distance = np.linalg.norm(pixels - ground_pixel, axis=-1)
    far = distance > max(60.0, 0.6 * np.percentile(distance, 98))
    if far.sum() < 25:
        return Verdict(None, ground, ground, 0.0)
    figure_pixel = np.median(pixels[far], axis=0)
    figure = np.linalg.norm(pixels - figure_pixel, axis=-1) < distance
    color = _nearest_color(figure_pixel)

    shape, overlap = max(((name, _overlap(figure, name)) for name in (*SHAPES, NEW_SHAPE)), key=lambda pair: pair[1])
    return Verdict(shape if overlap >= _LEAST_OVERLAP else None, color, ground, overlap)


def scenes_of(shapes: tuple[str, ...], count: int) -> list[Scene]:
    """The same ones each time."""
    rng = random.Random(2)
    return [random_scene(rng, shapes) for _ in range(count)]


def share_right(pipeline: Any, scenes: Sequence[Scene], *, color_too: bool) -> float:
    """Share of pictures that show what their prompts say, drawn at guidance 4 with 10 steps, half of what runs draw
    with: that is harder, and takes half the time.

    pipeline: diffusers' for Stable Diffusion.
    """
    import torch

    pictures = pipeline(
        [scene.caption() for scene in scenes],
        num_inference_steps=10,
        guidance_scale=4.0,
        height=SIZE,
        width=SIZE,
        generator=torch.Generator().manual_seed(11),
    ).images
    verdicts = [judge(picture) for picture in pictures]
    right = [
        verdict.shape == scene.shape and (verdict.color == scene.color or not color_too)
        for verdict, scene in zip(verdicts, scenes, strict=True)
    ]
    return sum(right) / len(right)


def _nearest_color(pixel: np.ndarray) -> str:
    return list(COLORS)[int(np.linalg.norm(_PALETTE - pixel, axis=-1).argmin())]


def _overlap(figure: np.ndarray, shape: str) -> float:
    """Intersection over union after both are scaled to the figure's bounding box, (H, W) → [0, 1]."""
    figure_box = _crop(figure)
    height, width = figure_box.shape
    ideal = _crop(_ideal(shape))
    ideal_height, ideal_width = ideal.shape
    # The proportions tell a bar from a square: stretching one onto the other must cost.
    stretch = (height / width) / (ideal_height / ideal_width)
    penalty = min(stretch, 1 / stretch)
    a, b = _resize(figure_box), _resize(ideal)
    return penalty * float((a & b).sum() / (a | b).sum())


def _ideal(shape: str) -> np.ndarray:
    canvas = Image.new("L", (4 * SIZE, 4 * SIZE), 0)
    draw_shape(ImageDraw.Draw(canvas), shape, 2 * SIZE, 2 * SIZE, 1.5 * SIZE)
    return np.asarray(canvas) > 127


def _crop(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resize(mask: np.ndarray) -> np.ndarray:
    grid = Image.fromarray(mask.astype(np.uint8) * 255).resize((_GRID, _GRID), Image.Resampling.BILINEAR)
    return np.asarray(grid) > 127
