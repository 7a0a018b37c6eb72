"""A layer whose changed weight has rows of given norms, without making the weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.stored import Stored
from engine.models.targets import Attachment, Target
from engine.networks.dropout import Dropouts
from engine.networks.made import kind_of
from engine.networks.magnitudes import norms_with_chain
from engine.networks.weight_network import WeightNetwork
from engine.settings.training import TrainingSettings

LAYERS: dict[str, Any] = {
    "linear": (lambda: nn.Linear(6, 4), (2, 5, 6)),
    "linear on pixels": (lambda: nn.Linear(6, 4), (2, 3, 3, 6)),
    "without a bias": (lambda: nn.Linear(6, 4, bias=False), (2, 5, 6)),
    "convolution": (lambda: nn.Conv2d(6, 4, 3, stride=2, padding=1), (2, 6, 7, 7)),
    "point": (lambda: nn.Conv2d(6, 4, 1), (2, 6, 3, 3)),
}
"""A layer, and the shape of what it is given."""


def dora_on(layer: nn.Module, dropouts: Dropouts | None = None, **values: Any) -> tuple[Any, WeightNetwork]:
    settings = TrainingSettings().with_values({"lora_type": "LyCORIS/LoCon", "dora_wd": True, **values})
    kind, model = kind_of(settings), nn.ModuleList([layer])
    assert kind is not None
    target = Target(model, "unet", (Attachment("lora_unet_layer", ("0",)),))
    network = WeightNetwork([target], kind, {"lora_unet_layer": (2, 1.0)}, told={}, dropouts=dropouts)
    return model[0].train(), network


def moved(network: WeightNetwork) -> list[Tensor]:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in (parameters := network.parameters("unet")):
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return list(parameters)


def by_the_formula(layer: Any, x: Tensor) -> Tensor:
    """dora_scale · (W + ΔW) / ‖W + ΔW‖, made whole."""
    base, trained = layer.base_layer, layer.place.trained
    down, up = (trained[f"lora_{side}.weight"] for side in ("down", "up"))
    core = trained.get("lora_mid.weight")
    if core is None:
        change = (up.flatten(1) @ down.flatten(1)).view(base.weight.shape)
    else:
        change = torch.einsum("mn...,im,nj->ij...", core, up.flatten(1), down.flatten(1))
    weight = base.weight.detach() + change / 2  # alpha over rank
    weight = trained["dora_scale"] * weight / weight.flatten(1).norm(dim=1).view(trained["dora_scale"].shape)
    return F.conv2d(x, weight, base.bias, **layer.steps) if layer.steps else F.linear(x, weight, base.bias)


@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_it_gives_what_the_formula_does_and_learns_the_same(name: str, tucker: bool):
    torch.manual_seed(1)
    make, shape = LAYERS[name]
    layer, network = dora_on(make().requires_grad_(False), use_tucker=tucker)
    x = torch.randn(shape, requires_grad=True)
    inputs = [x, *moved(network)]
    ours, theirs = layer(x), by_the_formula(layer, x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert (ours - layer.base_layer(x)).abs().max() > 0.1
    weights = torch.randn_like(ours)
    for one, other in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_of_what_is_as_large_as_the_result_or_the_weight_nothing_is_kept_but_these(name: str):
    make, shape = LAYERS[name]
    layer, network = dora_on(make().requires_grad_(False))
    moved(network)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda one: one):
        y = layer(torch.randn(shape, requires_grad=True))
    results = [one for one in kept if one.shape == y.shape]
    assert results
    assert {one.data_ptr() for one in results} == {y.data_ptr()}
    of_weight = {one.data_ptr() for one in kept if one.numel() == layer.weight.numel()}
    assert of_weight <= {layer.weight.data_ptr()}


def test_a_row_of_zeros_stays_one_of_numbers():
    base = nn.Linear(6, 4).requires_grad_(False)
    base.weight[1] = 0
    layer, network = dora_on(base)
    x = torch.randn(3, 6)
    torch.testing.assert_close(layer(x), base(x), atol=1e-6, rtol=0)
    layer(x).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters("unet"))
    moved(network)
    assert layer(x).isfinite().all()


def test_before_it_learns_it_is_the_layer():
    for make, shape in LAYERS.values():
        layer, _ = dora_on(make().requires_grad_(False))
        x = torch.randn(shape)
        torch.testing.assert_close(layer(x), layer.base_layer(x), atol=1e-6, rtol=0)  # the bias is added later


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tucker", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_under_autocast_it_learns_about_the_same_also_beside_a_large_bias(name: str, tucker: bool, dtype: torch.dtype):
    torch.manual_seed(1)
    make, shape = LAYERS[name]
    base = make().requires_grad_(False)
    if base.bias is not None:
        base.bias.fill_(16)
    layer, network = dora_on(base, use_tucker=tucker)
    parameters, x = moved(network), torch.randn(shape)
    weights = torch.randn_like(layer(x))
    with torch.autocast("cpu", dtype):
        ours = torch.autograd.grad((layer(x).float() * weights).sum(), parameters)
    wanted = torch.autograd.grad((by_the_formula(layer, x) * weights).sum(), parameters)
    for one, other in zip(ours, wanted, strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


def test_norms_are_computed_at_full_width_also_under_autocast():
    torch.manual_seed(1)
    weight, down, up = torch.randn(8, 512), torch.randn(2, 512), torch.randn(8, 2) * 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        given = norms_with_chain(Stored.whole(weight), [down, up])
    own = weight.norm(dim=1)
    # bfloat16 has steps of 1/8 between 16 and 32, where these norms are.
    torch.testing.assert_close(given - own, (weight + up @ down).norm(dim=1) - own, atol=1e-5, rtol=0)


def test_of_rows_left_out_and_values_left_out_the_layer_stays():
    torch.manual_seed(1)
    base = nn.Linear(6, 400).requires_grad_(False)
    layer, network = dora_on(base, Dropouts(rank=0.5))
    moved(network)
    x = torch.randn(3, 6)
    given, all_of_it, alone = layer(x), layer.eval()(x), base(x)
    left = torch.isclose(given, alone, atol=1e-6).all(0)
    assert 0.4 < left.float().mean() < 0.6
    torch.testing.assert_close(given[:, ~left], all_of_it[:, ~left], atol=1e-5, rtol=0)

    layer, network = dora_on(base, Dropouts(network=0.25))
    moved(network)
    change = (layer(x) - alone) / (layer.eval()(x) - alone)
    kept = change.abs() > 0.01
    assert 0.7 < kept.float().mean() < 0.8
    torch.testing.assert_close(change[kept].median(), torch.tensor(4 / 3), atol=1e-3, rtol=0)
