"""Where each layer's sizes are to be a file's, the page counts those."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.demo.demo import MODEL_FOLDER
from engine.networks.kohya_format import save_lora
from engine.settings.training import TrainingSettings
from engine.training.counting import Counter
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.test_kinds import USUAL, VARIANTS

ELSE: dict[str, Any] = {"network_dim": 8, "conv_dim": 8, "network_alpha": 1, "conv_alpha": 1, "lokr_factor": 2}
"""Sizes that no file here has."""

RATES = {"unet_lr": 1e-4, "text_encoder_lr": 1e-4}


def settings_with(values: dict[str, Any]) -> TrainingSettings:
    return TrainingSettings().for_method("lora").with_values(USUAL | RATES | values)


@pytest.mark.shows("dim_from_weights")
@pytest.mark.parametrize("variant", ["Standard", "LoRA-FA", *(name for name in VARIANTS if "BOFT" not in name)])
def test_the_count_is_that_of_the_network_that_begins_from_the_file(variant: str, tmp_path: Path):
    """Of half of the layers, which the file has, and of the others, with the form's ranks."""
    model = {"pretrained_model_name_or_path": str(MODEL_FOLDER)}
    given = VARIANTS.get(variant, {"lora_type": variant}) | model
    family, parts = loaded()
    made = settings_with(given | {"exclude_patterns": "attn1"})
    method = LoraMethod(family, copy.deepcopy(parts), made, total_steps=1, dtype=torch.float32)
    old = tmp_path / "old.safetensors"
    save_lora(method.network.file_weights(), {}, old, torch.float16)
    settings = settings_with(given | ELSE | {"network_weights": str(old), "dim_from_weights": True})
    begun = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    answer = Counter().answer(settings)
    assert answer["parameters"] == sum(one.numel() for group in begun.parameter_groups() for one in group["params"])
    save_lora(begun.network.file_weights(), {"ss_words": "w" * 2500}, tmp_path / "new.safetensors", torch.float16)
    assert answer["file"] == pytest.approx((tmp_path / "new.safetensors").stat().st_size, rel=0.1)


@pytest.mark.parametrize("dialect", ["kohya", "diffusers"])
def test_parts_of_a_matrix_that_share_their_first_count_as_one(dialect: str, tmp_path: Path):
    model = tmp_path / "model"
    small("flux").save_pretrained(model)
    given = SETTINGS["flux"] | {"pretrained_model_name_or_path": str(model), "lora_file_dialect": dialect}
    family, parts = loaded(model, **SETTINGS["flux"])
    file = tmp_path / "old.safetensors"
    LoraMethod(family, parts, settings_with(given), total_steps=1, dtype=torch.float32).save(file, {})
    counted = [
        Counter().answer(settings_with(given | more))["parameters"]
        for more in ({}, {"network_dim": 9, "network_weights": str(file), "dim_from_weights": True}, {"network_dim": 9})
    ]
    assert counted[0] == counted[1] < counted[2]


def test_a_file_that_is_not_there_is_said():
    model = {"pretrained_model_name_or_path": str(MODEL_FOLDER)}
    nowhere = {"network_weights": "/nowhere/old.safetensors", "dim_from_weights": True}
    answer = Counter().answer(settings_with(model | nowhere))
    assert (answer["option"], answer["failure"]) == ("network_weights", 'There is no file "/nowhere/old.safetensors".')
