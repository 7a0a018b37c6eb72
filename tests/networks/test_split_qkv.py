"""FLUX.1's queries, keys and values with matrices of their own, in one entry of the file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.check.network import check_network
from engine.models.flux import Flux
from engine.models.parts import Parts
from engine.models.targets import shape_of
from engine.networks.count import count
from engine.networks.kohya_format import save_lora
from engine.networks.made import reach_of
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import pipeline as small
from tests.networks.test_kinds import prediction

GIVEN = {"flux1_checkbox": True, "lora_type": "Flux1", "network_dim": 4, "network_alpha": 2, "split_qkv": True}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("flux")
    small("flux").save_pretrained(folder)
    return loaded(folder, flux1_checkbox=True)


def settings_with(**changes: Any) -> TrainingSettings:
    return TrainingSettings().with_values(GIVEN | changes)


def method_on(parts: Parts, by: float = 0.1, **changes: Any) -> LoraMethod:
    """With matrices that have learned something.  by: how far they moved."""
    settings = settings_with(**changes)
    method = LoraMethod(Flux(settings), parts, settings, total_steps=1, dtype=torch.float32)
    torch.manual_seed(5)
    with torch.no_grad():
        for group in method.parameter_groups():
            for parameter in group["params"]:
                parameter.add_(torch.randn_like(parameter) * by)
    return method


def change_of(weights: dict[str, Tensor], name: str) -> Tensor:
    down, up = weights[f"{name}.lora_down.weight"], weights[f"{name}.lora_up.weight"]
    return up @ down * (weights[f"{name}.alpha"] / len(down))


@pytest.mark.shows("split_qkv")
def test_each_part_has_its_own_matrices_and_the_file_one_block_diagonal(model: Any):
    _, parts = model
    weights = method_on(copy.deepcopy(parts)).network.file_weights()
    width = parts.denoiser.inner_dim
    for name, count_of_parts in (("double_blocks_0_img_attn_qkv", 3), ("single_blocks_0_linear1", 4)):
        down, up = (weights[f"lora_unet_{name}.lora_{side}.weight"] for side in ("down", "up"))
        assert down.shape == (4 * count_of_parts, width)
        assert float(weights[f"lora_unet_{name}.alpha"]) == 2 * count_of_parts
        assert not up[:width, 4:].any()
        assert not up[width : 2 * width, :4].any()
        assert up[width : 2 * width, 4:8].all()
    assert weights["lora_unet_double_blocks_0_img_attn_proj.lora_down.weight"].shape[0] == 4


def test_what_it_predicts_is_what_the_file_does_in_the_weights(model: Any):
    _, parts = model
    trained, merged = copy.deepcopy(parts), copy.deepcopy(parts)
    weights = method_on(trained).network.file_weights()
    family = Flux(settings_with())
    with torch.no_grad():
        for target in family.lora_targets(merged):
            for attachment in target.attachments:
                layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
                change = change_of(weights, attachment.name)
                assert change.shape == shape_of(target, attachment)
                for layer, rows in zip(layers, change.split([len(layer.weight) for layer in layers]), strict=True):
                    layer.weight += rows
    plain = prediction(family, copy.deepcopy(parts))
    found = prediction(family, trained)
    assert not torch.allclose(found, plain, atol=1e-3)
    torch.testing.assert_close(found, prediction(family, merged), atol=1e-4, rtol=1e-4)


def test_it_goes_on_from_a_state_and_begins_from_files_of_both_sorts(model: Any, tmp_path: Path):
    family, parts = model
    first, again = copy.deepcopy(parts), copy.deepcopy(parts)
    method = method_on(first)
    other = method_on(again, by=0.3)
    other.load_state_dict(method.state_dict())
    assert torch.equal(prediction(family, first), prediction(family, again))

    shared = method_on(copy.deepcopy(parts), split_qkv=False)
    for name, one in {"own": method, "shared": shared}.items():
        file = tmp_path / f"{name}.safetensors"
        save_lora(one.network.file_weights(), {}, file, torch.float32)
        begun = method_on(copy.deepcopy(parts), by=0, network_weights=str(file))
        ours, theirs = begun.network.file_weights(), one.network.file_weights()
        for entry in ("lora_unet_double_blocks_0_txt_attn_qkv", "lora_unet_single_blocks_0_linear1"):
            torch.testing.assert_close(change_of(ours, entry), change_of(theirs, entry), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("split", "rank"), [(True, 4), (False, 4), (False, 12), (True, 12)])
def test_a_file_that_has_learned_nothing_there_is_begun_from_as_any_other(
    split: bool, rank: int, model: Any, tmp_path: Path
):
    """Of zeros that end the matrices nobody can see whether they are one for all parts; their ranks say it."""
    _, parts = model
    file = tmp_path / "fresh.safetensors"
    fresh = method_on(copy.deepcopy(parts), by=0, split_qkv=split, network_dim=rank)
    save_lora(fresh.network.file_weights(), {}, file, torch.float32)
    begun = method_on(copy.deepcopy(parts), by=0, network_weights=str(file), network_dim=rank)
    ours, theirs = begun.network.file_weights(), fresh.network.file_weights()
    for entry, count_of_parts in (("double_blocks_0_img_attn_qkv", 3), ("single_blocks_0_linear1", 4)):
        down, given = (weights[f"lora_unet_{entry}.lora_down.weight"] for weights in (ours, theirs))
        assert torch.equal(down, given if split else torch.cat([given] * count_of_parts))
        assert not ours[f"lora_unet_{entry}.lora_up.weight"].any()


def test_the_count_knows_of_it(model: Any):
    family, parts = model
    settings = settings_with()
    found = count(settings, family.lora_targets(parts, reach_of(settings)))
    method = method_on(copy.deepcopy(parts))
    assert found.parameters == sum(p.numel() for group in method.parameter_groups() for p in group["params"])


def test_ranks_of_a_file_are_not_for_parts():
    settings = settings_with(network_weights="some.safetensors", dim_from_weights=True)
    assert [(one.option, one.blocking) for one in check_network(settings)] == [("dim_from_weights", True)]
