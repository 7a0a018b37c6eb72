"""Hypernetworks: built and saved as AUTOMATIC1111's web UI does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from engine.failure import Failure
from engine.models.quantize import quantize
from engine.networks.hypernetwork import Hypernetwork, Module, Structure, widths_in
from engine.networks.hypernetwork_files import read_hypernetwork, write_hypernetwork
from engine.settings.hypernetwork import WIDTHS
from engine.settings.hypernetwork import Hypernetwork as Settings
from tests.models.loading import loaded

OF_WEB_UI = {"relu": nn.ReLU, "swish": nn.Hardswish, "softsign": nn.Softsign}


def web_ui_module(told: dict[Any, Any], width: int, place: int) -> nn.Sequential:
    """As the web UI builds one from what a file says; x + of this is what it makes of x."""
    structure, layers = told["layer_structure"], []
    for number, (inside, outside) in enumerate(pairwise(structure)):
        layers.append(nn.Linear(int(width * inside), int(width * outside)))
        is_last = number == len(structure) - 2
        if told["activation_func"] != "linear" and (not is_last or told["activate_output"]):
            layers.append(OF_WEB_UI[told["activation_func"]]())
        if told["is_layer_norm"]:
            layers.append(nn.LayerNorm(int(width * outside)))
        if told["use_dropout"] and told["dropout_structure"][number + 1] > 0:
            layers.append(nn.Dropout(told["dropout_structure"][number + 1]))
    built = nn.Sequential(*layers)
    built.load_state_dict({name.removeprefix("linear."): one for name, one in told[width][place].items()})
    return built.eval()


def made(structure: Structure) -> tuple[Any, Hypernetwork]:
    unet: Any = loaded()[1].denoiser
    return unet, Hypernetwork(unet, widths_in(unet), structure, torch.float32)


def given() -> dict[str, Tensor]:
    return {
        "sample": torch.randn(2, 4, 8, 8), "timestep": torch.tensor([10, 700]),
        "encoder_hidden_states": torch.randn(2, 7, 64),
    }  # fmt: skip


STRUCTURES = [
    Structure((1, 2, 1)),
    Structure((1, 1)),
    Structure((1, 1.5, 2, 1), "swish", layer_norm=True),
    Structure((1, 2, 1), "relu", activate_output=True, dropouts=(0, 0.5, 0), init="KaimingUniform"),
    Structure((1, 2, 2, 1), "softsign", dropouts=(0, 0.1, 0, 0), init="XavierNormal"),
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: f"{one.widths} {one.activation}")
@torch.no_grad()
def test_the_web_ui_makes_of_the_file_what_was_trained(structure: Structure, tmp_path: Path):
    torch.manual_seed(1)
    unet, network = made(structure)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    unet.eval()
    found = unet(**(asked := given())).sample
    write_hypernetwork(tmp_path / "a.pt", network, dtype=torch.float32, steps=5, metadata={"ss_sd_model_name": "m"})

    told = torch.load(tmp_path / "a.pt", weights_only=True)
    assert (told["step"], told["name"], told["sd_checkpoint_name"]) == (5, "a", "m")
    plain: Any = loaded()[1].denoiser.eval()
    assert not torch.allclose(plain(**asked).sample, found, atol=1e-3)
    for module in plain.modules():
        if not hasattr(module, "to_k"):
            continue
        for layer, place in ((module.to_k, 0), (module.to_v, 1)):
            before = web_ui_module(told, layer.in_features, place)
            layer.register_forward_pre_hook(lambda _, given, before=before: (given[0] + before(given[0]),))
    torch.testing.assert_close(plain(**asked).sample, found)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: f"{one.widths} {one.activation}")
@torch.no_grad()
def test_a_file_is_read_as_it_was_written(structure: Structure, tmp_path: Path):
    _, network = made(structure)
    write_hypernetwork(tmp_path / "a.pt", network, dtype=torch.float32, steps=12, metadata={})
    found = read_hypernetwork(tmp_path / "a.pt")
    assert (found.structure, found.widths, found.steps) == (structure, network.widths, 12)
    for (width, use), weights in found.weights.items():
        for name, tensor in network.of(width, use).state_dict().items():
            assert torch.equal(weights[name], tensor)


@pytest.mark.parametrize("activation", ["selu", "CELU", "softplus", "relu6"])
def test_other_activations_of_the_web_ui_s_are_read(activation: str, tmp_path: Path):
    one = {"linear.0.weight": torch.ones(8, 4), "linear.0.bias": torch.zeros(8), "linear.2.weight": torch.ones(4, 8),
           "linear.2.bias": torch.zeros(4)}  # fmt: skip
    torch.save({4: (one, one), "activation_func": activation, "activate_output": False}, tmp_path / "a.pt")
    found = read_hypernetwork(tmp_path / "a.pt")
    assert set(Module(4, found.structure).state_dict()) == set(one)


@torch.no_grad()
def test_dropout_is_of_training_alone():
    unet, _ = made(Structure((1, 2, 1), dropouts=(0, 0.5, 0), init="XavierNormal"))
    asked = given()
    assert torch.equal(unet.eval()(**asked).sample, unet(**asked).sample)
    assert not torch.equal(unet.train()(**asked).sample, unet(**asked).sample)
    assert torch.equal(unet.eval()(**asked).sample, unet(**asked).sample)


def test_normal_begins_with_nearly_no_change():
    plain: Any = loaded()[1].denoiser.eval()
    unet, _ = made(Structure((1, 2, 1)))
    asked = given()
    with torch.no_grad():
        before, after = plain(**asked).sample, unet.eval()(**asked).sample
    assert 0 < (after - before).abs().mean() < 0.01 * before.abs().mean()


def test_old_files_are_read(tmp_path: Path):
    """Of before activations, and of before dropout had a probability."""
    one = {"linear1.weight": torch.ones(8, 4), "linear1.bias": torch.zeros(8), "linear2.weight": torch.ones(4, 8),
           "linear2.bias": torch.zeros(4)}  # fmt: skip
    torch.save({4: (one, one), "step": 3, "name": "old"}, tmp_path / "old.pt")
    found = read_hypernetwork(tmp_path / "old.pt")
    assert (found.structure.widths, found.structure.activation, found.steps) == ((1, 2, 1), "linear", 3)
    assert set(found.weights[4, "k"]) == {f"linear.{number}.{what}" for number in (0, 1) for what in ("weight", "bias")}
    for last, dropouts in ((True, (0, 0.3, 0.3, 0)), (False, (0, 0.3, 0, 0))):
        said = {"layer_structure": [1, 2, 2, 1], "use_dropout": True, "last_layer_dropout": last}
        torch.save({4: (one, one), **said}, tmp_path / "old.pt")
        assert read_hypernetwork(tmp_path / "old.pt").structure.dropouts == dropouts


@pytest.mark.parametrize(
    "held",
    [
        {}, {"a": torch.ones(2)}, {4: "words"}, {4: ({"linear.0.weight": torch.tensor(float("nan"))}, {})},
        {4: ({}, {}), "layer_structure": [2, 1]}, {4: ({}, {}), "activation_func": "wonderful"},
        {4: ({}, {}), "use_dropout": True, "dropout_structure": [0.5]},
        {4: ({}, {}), "use_dropout": True, "dropout_structure": [0, 2.0, 0]},
        {4: ({}, {}), "use_dropout": True, "dropout_structure": [0, float("nan"), 0]},
        {4: ({"linear.0.weight": torch.eye(4).to_sparse()}, {})}, [1, 2],
        {4: ({}, {}), "layer_structure": [1, float("nan"), 1]}, {4: ({}, {}), "layer_structure": [1, 1e9, 1]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_hypernetwork_gets_a_sentence(held: Any, tmp_path: Path):
    torch.save(held, tmp_path / "bad.pt")
    with pytest.raises(Failure, match=r"bad\.pt is no hypernetwork, or it is damaged"):
        read_hypernetwork(tmp_path / "bad.pt")


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_published_models_have_these_widths_and_a_file_these_shapes(family: Any):
    blocks = (False, True, True) if family == "sdxl" else (True, True, True, False)
    widths, context = (320, 640, 1280, 1280)[: len(blocks)], WIDTHS[family][0]
    own = [width for width, has_attention in zip(widths, blocks, strict=True) if has_attention]
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=widths, cross_attention_dim=context,
            down_block_types=tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in blocks),
            up_block_types=tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(blocks)),
        )  # fmt: skip
        assert widths_in(unet) == [context, *dict.fromkeys(own)] == list(WIDTHS[family])
        network = Hypernetwork(unet, widths_in(unet), Structure((1, 2, 1)), torch.float32)
    shapes = {name: tuple(one.shape) for name, one in network.of(context, "k").state_dict().items()}
    assert shapes == {
        "linear.0.weight": (2 * context, context), "linear.0.bias": (2 * context,),
        "linear.1.weight": (context, 2 * context), "linear.1.bias": (context,),
    }  # fmt: skip
    assert sum(parameter.numel() for parameter in network.parameters()) == Settings().weights(family)


@pytest.mark.parametrize("form", ["fp8", "int8", "nf4"])
@torch.no_grad()
def test_it_stays_attached_and_exact_where_the_model_is_stored_in_few_digits(form: Any):
    torch.manual_seed(3)
    unet, network = made(Structure((1, 2, 1), init="XavierNormal"))
    asked = given()
    before = unet.eval()(**asked).sample
    weights = [parameter.clone() for parameter in network.parameters()]
    quantize(unet, form, torch.device("cpu"))
    after = unet(**asked).sample
    assert all(torch.equal(old, new) for old, new in zip(weights, network.parameters(), strict=True))
    assert (after - before).norm() < 0.3 * before.norm()
    for parameter in network.parameters():
        parameter.zero_()
    assert (unet(**asked).sample - after).norm() > 0.05 * before.norm()
