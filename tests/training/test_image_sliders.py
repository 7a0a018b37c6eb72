"""Sliders from pictures: those of the opposite are learned at the opposite strength."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.check.check import check
from engine.data.training_set import training_set
from engine.demo.shapes import SHAPES, SIZE, draw, random_scene
from engine.runs.history import History
from engine.settings.training import TrainingSettings
from tests.training.test_textual_inversion import pipeline

Trained = Callable[..., History]


def coloured(folder: Path, color: str) -> Path:
    """Shapes of a colour, under captions that call them green."""
    rng = random.Random(4)
    (folder / "2_shapes").mkdir(parents=True)
    for number in range(12):
        scene = replace(random_scene(rng, SHAPES), color=color, ground="white")
        draw(scene).save(folder / "2_shapes" / f"{number}.png")
        caption = replace(scene, color="green").caption()
        (folder / "2_shapes" / f"{number}.txt").write_text(caption, encoding="utf-8")
    return folder


@pytest.mark.shows("opposite_data_dir")
def test_the_strength_moves_from_the_opposite_to_the_pictures(trained: Trained, tmp_path: Path):
    folders = {"train_data_dir": str(coloured(tmp_path / "red", "red")),
               "opposite_data_dir": str(coloured(tmp_path / "blue", "blue"))}  # fmt: skip
    history = trained(**folders, unet_lr=5e-3, text_encoder_lr=0.0, network_dim=8, network_alpha=8, train_batch_size=6,
                      max_train_steps=80, min_snr_gamma=5, gradient_checkpointing=True, caption_extension=".txt",
                      validation_split=0.1, validate_every_n_steps=40, sample_prompts="a ring --s 2",
                      sample_every_n_steps=40, output_name="slider")  # fmt: skip
    assert history.last.how == "done"
    drawn_by = pipeline()
    drawn_by.load_lora_weights(str(tmp_path / "out" / "slider.safetensors"))
    (adapter,) = drawn_by.get_active_adapters()
    redness = []
    for strength in (-1.0, -0.5, 0.0, 0.5, 1.0):
        drawn_by.set_adapters([adapter], [strength])
        pictures = drawn_by(
            [f"a green {shape} on a white background" for shape in SHAPES], num_inference_steps=10, guidance_scale=4.0,
            height=SIZE, width=SIZE, generator=torch.Generator().manual_seed(11),
        ).images  # fmt: skip
        pixels = np.stack([np.asarray(picture.convert("RGB"), dtype=float) for picture in pictures])
        redness.append((pixels[..., 0] - pixels[..., 2]).mean())
    assert redness == sorted(redness)
    assert redness[-1] - redness[0] > 60


def test_each_picture_has_its_strength_and_its_batches(settings: TrainingSettings, tmp_path: Path):
    own = settings.with_values({"opposite_data_dir": str(coloured(tmp_path / "blue", "blue"))})
    items = training_set(own).items
    assert {(item.picture.parents[1].name, item.subset.strength) for item in items} == {("img", 1.0), ("blue", -1.0)}
    assert len({item.subset.dataset for item in items}) == 2
    others = training_set(own.for_method("dreambooth")).items
    assert {item.subset.strength for item in others} == {1.0}


@pytest.mark.parametrize("method", ["lora", "finetune"])
def test_a_dataset_config_gives_each_dataset_its_strength(settings: TrainingSettings, tmp_path: Path, method: Any):
    """sd-scripts' network_multiplier."""
    file = tmp_path / "d.toml"
    image_dir = f"image_dir = '{tmp_path / 'img' / '2_shapes'}'"
    file.write_text(
        f"[[datasets]]\nnetwork_multiplier = -0.5\n[[datasets.subsets]]\n{image_dir}\n"
        f"[[datasets]]\n[[datasets.subsets]]\n{image_dir}\n"
    )
    found = training_set(settings.for_method(method).with_values({"dataset_config": str(file)}))
    assert {(item.subset.dataset, item.subset.strength) for item in found.items} == {(0, -0.5), (1, 1.0)}
    assert any("only has an effect with a LoRA" in note for note in found.notes) == (method != "lora")


@pytest.mark.parametrize("value", ["'much'", "true", "nan", "11", "0"])
def test_a_strength_that_is_none_is_refused(settings: TrainingSettings, tmp_path: Path, value: str):
    file = tmp_path / "d.toml"
    image_dir = f"image_dir = '{tmp_path / 'img' / '2_shapes'}'"
    file.write_text(f"[[datasets]]\nnetwork_multiplier = {value}\n[[datasets.subsets]]\n{image_dir}\n")
    problems = check(settings.with_values({"dataset_config": str(file)})).problems
    assert [one for one in problems if "network_multiplier is" in one.what and "from -10 to 10" in one.what]


def test_an_opposite_without_pictures_is_said(settings: TrainingSettings, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for folder, sentence in (("empty", "pictures"), ("gone", "does not exist")):
        problems = check(settings.with_values({"opposite_data_dir": str(tmp_path / folder)})).problems
        assert [one for one in problems if one.option == "opposite_data_dir" and one.blocking and sentence in one.what]


def test_an_opposite_that_would_have_no_effect_is_said(settings: TrainingSettings, tmp_path: Path):
    file, image_dir = tmp_path / "d.toml", tmp_path / "img" / "2_shapes"
    file.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{image_dir}'\n")
    for changes, sentence in (
        ({"opposite_data_dir": str(tmp_path / "img")}, "It is the image folder itself"),
        ({"opposite_data_dir": "/any", "dataset_config": str(file)}, "takes the place of the folders"),
    ):
        problems = check(settings.with_values(changes)).problems
        assert [one for one in problems if one.option == "opposite_data_dir" and one.blocking and sentence in one.what]
