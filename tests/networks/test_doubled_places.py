"""A file with two tensors for one place and role is refused: one of them would be lost without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.check.network_weights import check_network_weights
from engine.networks import refusals
from engine.networks.begun_from import read
from engine.networks.dialects import Shapes, dialect_of
from engine.settings.training import TrainingSettings

UNET = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT = "text_model_encoder_layers_0_self_attn_q_proj"
PEFT = "base_model.model.mid_block.attentions.0.proj_in"
FLUX = "lora_unet_double_blocks_0_img_attn_qkv"

DOUBLED: dict[str, dict[str, tuple[int, ...]]] = {
    "two adapters of peft's": {
        f"{PEFT}.lora_{side}.{adapter}.weight": (8, 8) for adapter in ("default", "style") for side in "AB"
    },
    "a text encoder under two names": {
        f"{prefix}{TEXT}.lora_{side}.weight": (8, 8) for prefix in ("lora_te_", "lora_te1_") for side in ("down", "up")
    },
    "queries, keys and values apart under one name": {
        f"{FLUX}.lora_{side}.{number}.weight": (8, 8) for number in range(3) for side in ("down", "up")
    },
    "one matrix in two spellings": {
        f"{UNET}.{role}.weight": (8, 8) for role in ("lora_down", "lora_up", "lora_B")
    },
    "two alphas": {
        f"lora_te_{TEXT}.lora_down.weight": (8, 8),
        f"lora_te_{TEXT}.lora_up.weight": (8, 8),
        f"lora_te_{TEXT}.alpha": (),
        f"lora_te1_{TEXT}.alpha": (),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBLED)
def test_check_and_engine_refuse_it_alike(name: str, tmp_path: Path):
    file = tmp_path / "two.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in DOUBLED[name].items()}, file)
    told = {"network_weights": str(file), "network_dim": 8}
    (problem,) = check_network_weights(TrainingSettings().for_method("lora").with_values(told))
    assert problem.blocking
    assert problem.what.startswith("two.safetensors has more than one matrix or alpha for the same layer, such as ")
    settings = TrainingSettings().for_method("lora")
    refusal = refusals.of_another_kind(file.name, read(file)[1], settings)
    assert refusal is not None
    assert refusal.what == problem.what


def test_the_first_stays_and_the_others_are_listed():
    shapes: Shapes = DOUBLED["two adapters of peft's"]
    file = dialect_of(shapes)
    (found,) = file.modules.values()
    sides = {"lora_down.weight": f"{PEFT}.lora_A.default.weight", "lora_up.weight": f"{PEFT}.lora_B.default.weight"}
    assert found.names == sides
    assert file.doubled == [f"{PEFT}.lora_{side}.style.weight" for side in "AB"]


def test_one_adapter_with_a_name_is_none_of_several():
    shapes = {key: shape for key, shape in DOUBLED["two adapters of peft's"].items() if "style" in key}
    assert refusals.of_another_kind("one", dialect_of(shapes), TrainingSettings().for_method("lora")) is None
