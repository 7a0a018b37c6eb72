"""OFT for FLUX.1, in the files that sd-scripts' networks.oft_flux writes."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.failure import Failure
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small

GIVEN = {"lora_type": "Flux1 OFT", "flux1_checkbox": True, "network_dim": 4, "network_alpha": 0.001}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("flux")
    small("flux").save_pretrained(folder)
    return loaded(folder, **SETTINGS["flux"])


def method_of(model: Any, **changes: object) -> LoraMethod:
    family, parts = model
    settings = TrainingSettings().with_values({**GIVEN, **changes})
    return LoraMethod(family, copy.deepcopy(parts), settings, total_steps=1, dtype=torch.float32)


def widths(parts: Parts) -> tuple[int, int, int, int]:
    """(of the stream, of its feed forward layers, double blocks, single blocks)."""
    config: Any = parts.denoiser.config
    wide = config.num_attention_heads * config.attention_head_dim
    return wide, 4 * wide, config.num_layers, config.num_single_layers


def test_attention_of_double_blocks_has_blocks_for_each_part_of_a_matrix(model: Any):
    """As sd-scripts makes them: num_blocks matrices for each of queries, keys and values, and for the projection."""
    wide, _, doubles, _ = widths(model[1])
    weights = method_of(model).network.file_weights()
    expected = {}
    for block in range(doubles):
        for stream in ("img", "txt"):
            for layer, parts in (("qkv", 3), ("proj", 1)):
                name = f"oft_unet_double_blocks_{block}_{stream}_attn_{layer}"
                expected[f"{name}.alpha"] = ()
                expected |= {f"{name}.oft_blocks.{part}": (4, wide // 4, wide // 4) for part in range(parts)}
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == expected
    constraints = [float(tensor) for name, tensor in weights.items() if name.endswith("alpha")]
    assert constraints == pytest.approx([0.001] * len(constraints))


def test_all_linear_layers_of_all_blocks_may_be_turned(model: Any):
    wide, deep, doubles, singles = widths(model[1])
    weights = method_of(model, enable_all_linear=True).network.file_weights()
    names = Counter(name.partition(".")[0].split("_", 4)[-1].split("_", 1)[-1] for name in weights if "alpha" in name)
    assert names == {
        **{f"{s}_{n}": doubles for s in ("img", "txt") for n in ("attn_qkv", "attn_proj", "mlp_0", "mlp_2", "mod_lin")},
        **dict.fromkeys(("linear1", "linear2", "modulation_lin"), singles),
    }
    first = "oft_unet_single_blocks_0_linear1.oft_blocks"
    sides = [weights[f"{first}.{part}"].shape[1] for part in range(4)]
    assert sides == [wide // 4, wide // 4, wide // 4, deep // 4]


def test_a_rank_that_does_not_divide_is_refused(model: Any):
    with pytest.raises(Failure) as refused:
        method_of(model, network_dim=5)
    assert refused.value.option == "network_dim"


def test_without_a_rate_for_the_transformer_nothing_is_reached(model: Any):
    with pytest.raises(Failure, match="LoRA type Flux1 OFT reaches no layer"):
        method_of(model, learning_rate=0, unet_lr=0)


def test_a_state_gives_back_what_was_trained_and_says_its_kind(model: Any):
    method, other = method_of(model), method_of(model)
    with torch.no_grad():
        for parameter in method.network.parameters("unet"):
            parameter.normal_()
    other.load_state_dict(method.state_dict())
    weights = other.network.file_weights()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in method.network.file_weights().items())
    assert method.metadata()["ss_network_module"] == "networks.oft_flux"
