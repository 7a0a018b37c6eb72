"""Rank-stabilised: a network acts with alpha ÷ √rank, which its file says to readers that take alpha ÷ rank."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.settings.sd_networks import read_network, write_network
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded

RANK, ALPHA, CONV_RANK, CONV_ALPHA = 4, 2.0, 2, 3.0


def method_of(lora_type: str, **changes: Any) -> LoraMethod:
    settings = TrainingSettings().with_values(
        {
            "lora_type": lora_type, "rs_lora": True, "network_dim": RANK, "network_alpha": ALPHA,
            "conv_dim": CONV_RANK, "conv_alpha": CONV_ALPHA, **changes,
        }
    )  # fmt: skip
    return LoraMethod(*loaded(), settings, total_steps=1, dtype=torch.float32)


@pytest.mark.shows("rs_lora")
@pytest.mark.parametrize(
    "lora_type", ["Standard", "LoRA-FA", "Kohya LoCon", "Kohya LoHa", "LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr"]
)
def test_each_layer_s_alpha_over_its_rank_is_the_strength_asked_for(lora_type: str):
    weights = method_of(lora_type).network.file_weights()
    downs = ("lora_down.weight", "hada_w1_b", "lokr_w2_b")
    ranks = {name.split(".")[0]: len(tensor) for name, tensor in weights.items() if name.endswith(downs)}
    strengths = {(rank, round(float(weights[f"{name}.alpha"]) / rank, 6)) for name, rank in ranks.items()}
    wide = {(CONV_RANK, round(CONV_ALPHA / 2**0.5, 6))} if lora_type not in ("Standard", "LoRA-FA") else set()
    assert strengths == {(RANK, ALPHA / 2)} | wide


def test_where_nothing_is_of_low_rank_no_alpha_acts():
    weights = method_of("LyCORIS/LoKr", network_dim=100_000, conv_dim=100_000).network.file_weights()
    assert {float(alpha) for name, alpha in weights.items() if name.endswith(".alpha")} == {100_000.0}


def test_a_list_of_blocks_is_stabilised_by_its_own_ranks():
    ranks = [4] * 12 + [9] + [4] * 12
    method = method_of("Standard", block_dims=",".join(map(str, ranks)), block_alphas=",".join(["2"] * 25))
    weights = method.network.file_weights()
    alphas = {
        len(weights[name.replace(".alpha", ".lora_down.weight")]): float(alpha)
        for name, alpha in weights.items()
        if name.startswith("lora_unet_") and name.endswith(".alpha")
    }
    assert alphas == pytest.approx({4: 2 * 2.0, 9: 2 * 3.0})


def test_lycoris_is_told_and_an_ordinary_lora_s_file_says_the_alpha_that_acts():
    told = method_of("LyCORIS/LoHa").metadata()
    assert '"rs_lora": "True"' in told["ss_network_args"]
    assert told["ss_network_alpha"] == ALPHA
    standard = method_of("Standard").metadata()
    assert standard["ss_network_alpha"] == ALPHA * RANK**0.5
    assert "rs_lora" not in str(standard.get("ss_network_args"))


def test_what_lycoris_is_told_comes_back():
    values = TrainingSettings().with_values({"lora_type": "LyCORIS/LoCon", "rs_lora": True}).values()
    assert read_network(*write_network(values, "sd1"), {})[0]["rs_lora"] == "True"
