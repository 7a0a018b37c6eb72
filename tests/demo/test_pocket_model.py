"""The built-in model follows its prompts, and learns what it is taught: judged by arithmetic, not by eye."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from engine.demo.demo import MODEL_FOLDER, demo_settings, write_demo
from engine.demo.judge import judge, scenes_of, share_right
from engine.demo.shapes import COLORS, NEW_SHAPE, SHAPES, draw
from engine.runs.folder import RunFolder
from engine.runs.history import History
from tests.here import work_here

MOST_BYTES = 16 * 2**20


@pytest.fixture
def pipeline() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_the_judge_knows_what_was_drawn():
    """The measure itself: drawn pictures of every shape and colour, in all sizes and places."""
    scenes = scenes_of((*SHAPES, NEW_SHAPE), 400)
    verdicts = [judge(draw(scene)) for scene in scenes]
    right = [
        (v.shape, v.color, v.ground) == (s.shape, s.color, s.ground) for v, s in zip(verdicts, scenes, strict=True)
    ]
    assert sum(right) / len(right) > 0.97


def test_the_judge_sees_nothing_in_noise_and_in_plain_ground():
    from PIL import Image

    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    assert judge(noise).shape is None
    assert judge(Image.new("RGB", (64, 64), COLORS["red"])).shape is None


def test_the_model_is_small():
    assert sum(file.stat().st_size for file in MODEL_FOLDER.rglob("*") if file.is_file()) <= MOST_BYTES


def test_of_100_prompts_at_least_85_give_the_right_shape_in_the_right_colour(pipeline: StableDiffusionPipeline):
    assert share_right(pipeline, scenes_of(SHAPES, 100), color_too=True) >= 0.85


def test_it_learns_a_heart_from_twelve_pictures_and_forgets_nothing(pipeline: StableDiffusionPipeline, tmp_path: Path):
    hearts, ordinary = scenes_of((NEW_SHAPE,), 50), scenes_of(SHAPES, 60)
    assert share_right(pipeline, hearts, color_too=False) < 0.10

    settings = write_demo(tmp_path).with_values({"sample_every_n_steps": 0, "sample_at_first": False})
    assert settings.network.network_dim == 8
    run = RunFolder.create("train", settings.model_dump_json(), "heart")
    work_here(run)
    assert History(run).update().last.how == "done"

    pipeline.load_lora_weights(tmp_path / "model" / f"{NEW_SHAPE}.safetensors")
    assert share_right(pipeline, hearts, color_too=False) > 0.80
    assert share_right(pipeline, ordinary, color_too=False) > 0.75


def test_the_demo_is_twelve_stars_and_some_ordinary_shapes(tmp_path: Path):
    settings = write_demo(tmp_path)
    assert settings == demo_settings(tmp_path)
    folders = {folder.name: len(list(folder.glob("*.png"))) for folder in (tmp_path / "img").iterdir()}
    assert folders == {"12_heart": 12, "2_ordinary shapes": 24}
    caption = (tmp_path / "img" / "12_heart" / "heart_01.txt").read_text()
    assert NEW_SHAPE in caption
