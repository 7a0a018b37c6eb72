"""The first training that a newcomer sees: teach the pocket model a heart."""

from __future__ import annotations

import random
from pathlib import Path

from engine.demo.shapes import NEW_SHAPE, SHAPES, Scene, draw, random_scene
from engine.settings.training import TrainingSettings

MODEL_FOLDER = Path(__file__).parent / "model"

HEARTS = 12
ORDINARY = 24
"""Pictures of what the model knows already, seen beside the hearts so that it does not forget them."""


def demo_settings(folder: Path) -> TrainingSettings:
    """Settings for the built-in pictures in `folder`, for about a minute and a half on a CPU core."""
    return TrainingSettings().with_values(
        {
            "pretrained_model_name_or_path": str(MODEL_FOLDER),
            "train_data_dir": str(folder / "img"),
            "output_dir": str(folder / "model"),
            "output_name": NEW_SHAPE,
            "max_resolution": "64,64",
            "train_batch_size": 8,
            "epoch": 17,
            "save_every_n_epochs": 6,
            "learning_rate": 5e-3,
            "unet_lr": 5e-3,
            "text_encoder_lr": 5e-3,
            "lr_scheduler": "cosine",
            "lr_warmup": 5,
            "optimizer": "AdamW",
            "network_dim": 8,
            "network_alpha": 8,
            "mixed_precision": "no",
            # Its layers are so small that a second thread gains a tenth, and takes the core that the browser needs.
            "num_cpu_threads_per_process": 1,
            "seed": 7,
            "min_snr_gamma": 5,
            "sample_every_n_steps": 50,
            "sample_at_first": True,
            "sample_sampler": "ddim",
            "sample_prompts": "\n".join(
                [
                    f"a red {NEW_SHAPE} on a blue background --s 15 --l 4 --d 1",
                    f"a yellow {NEW_SHAPE} on a black background --s 15 --l 4 --d 2",
                    "a green circle on a white background --s 15 --l 4 --d 3",
                ]
            ),
        }
    )


def write_demo(folder: Path) -> TrainingSettings:
    """Draw the pictures with their captions into folder/img; returns the settings that train on them."""
    rng = random.Random(7)
    _write(folder / "img" / f"12_{NEW_SHAPE}", [random_scene(rng, (NEW_SHAPE,)) for _ in range(HEARTS)])
    ordinary = [random_scene(rng, (SHAPES[i % len(SHAPES)],)) for i in range(ORDINARY)]
    _write(folder / "img" / "2_ordinary shapes", ordinary)
    return demo_settings(folder)


def _write(folder: Path, scenes: list[Scene]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes, start=1):
        picture = folder / f"{scene.shape}_{number:02d}.png"
        draw(scene).save(picture)
        picture.with_suffix(".txt").write_text(scene.caption(), encoding="utf-8")
