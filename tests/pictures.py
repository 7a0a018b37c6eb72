"""Pictures for tests, drawn."""

from __future__ import annotations

import random
from pathlib import Path

from engine.demo.shapes import draw, random_scene


def draw_pictures(folder: Path, count: int, seed: int = 0, caption: bool = True) -> Path:
    """`count` pictures of shapes in a folder, each with its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for number in range(count):
        scene = random_scene(rng)
        picture = folder / f"{number:02d}.png"
        draw(scene).save(picture)
        if caption:
            picture.with_suffix(".txt").write_text(scene.caption(), encoding="utf-8")
    return folder
