"""DyLoRA trains one block of ranks a pass, with those before it as they are, and without later ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.models.targets import Attachment, Target
from engine.networks.made import kind_of
from engine.networks.weight_network import WeightNetwork
from engine.settings.training import TrainingSettings

RANK, UNIT, ALPHA = 6, 2, 3
BLOCKS = [2, 4, 6]
"""How many ranks act, by the block that is drawn."""


def trained_on(lora_type: str, *layers: nn.Linear) -> tuple[nn.ModuleList, WeightNetwork]:
    settings = TrainingSettings().with_values(
        {"lora_type": lora_type, "network_dim": RANK, "network_alpha": ALPHA, "dylora_unit": UNIT}
    )
    model = nn.ModuleList(layers)
    paths = tuple(str(number) for number in range(len(layers)))
    target = Target(model, "unet", (Attachment("lora_unet_layer", paths),))
    kind = kind_of(settings)
    assert kind is not None
    network = WeightNetwork([target], kind, {"lora_unet_layer": (RANK, ALPHA)}, told={})
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters("unet"):
            parameter.normal_()
    return model, network


def strength(lora_type: str, acting: int) -> float:
    """LyCORIS: alpha over the ranks that act.  The authors: alpha over rank, times the root of rank over those."""
    return ALPHA / acting if lora_type.startswith("LyCORIS") else ALPHA / RANK * (RANK / acting) ** 0.5


def expected(network: WeightNetwork, x: Tensor, lora_type: str, acting: int) -> Tensor:
    weights = network.file_weights()
    down, up = (weights[f"lora_unet_layer.lora_{side}.weight"] for side in ("down", "up"))
    return x @ down[:acting].T @ up[:, :acting].T * strength(lora_type, acting)


@pytest.mark.shows("dylora_unit")
@pytest.mark.parametrize("lora_type", ["LyCORIS/DyLoRA", "Kohya DyLoRA"])
def test_each_pass_trains_one_block_over_the_ones_before_it(lora_type: str):
    plain = nn.Linear(5, 7)
    model, network = trained_on(lora_type, plain)
    parameters = network.by_place("unet")["lora_unet_layer"]
    downs, ups = parameters[: len(BLOCKS)], parameters[len(BLOCKS) :]
    x, seen = torch.randn(3, 5), set()
    for _ in range(40):
        for parameter in parameters:
            parameter.grad = None
        added = model[0](x) - plain(x)
        acting = next(
            ranks for ranks in BLOCKS if torch.allclose(added, expected(network, x, lora_type, ranks), atol=1e-4)
        )
        added.square().sum().backward()
        learns = [ranks == acting for ranks in BLOCKS]
        assert [down.grad is not None and bool(down.grad.any()) for down in downs] == learns
        assert [up.grad is not None and bool(up.grad.any()) for up in ups] == learns
        seen.add(acting)
    assert seen == set(BLOCKS)


@pytest.mark.parametrize("lora_type", ["LyCORIS/DyLoRA", "Kohya DyLoRA"])
def test_an_optimizer_with_momentum_moves_the_block_that_was_drawn_alone(lora_type: str):
    plain = nn.Linear(5, 7)
    model, network = trained_on(lora_type, plain)
    optimizer = torch.optim.AdamW(network.parameters("unet"), lr=0.1, weight_decay=0.5)
    x = torch.randn(3, 5)
    for _ in range(10):
        optimizer.zero_grad()
        model[0](x).square().sum().backward()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        optimizer.step()
        moved = {
            name.partition("/")[2] for name, tensor in network.state_dict().items() if (tensor != before[name]).any()
        }
        assert len(moved) == 1


@pytest.mark.parametrize("lora_type", ["LyCORIS/DyLoRA", "Kohya DyLoRA"])
def test_in_use_all_ranks_act_as_the_file_says(lora_type: str):
    plain = nn.Linear(5, 7)
    model, network = trained_on(lora_type, plain)
    x = torch.randn(3, 5)
    before = torch.get_rng_state()
    torch.testing.assert_close(model.eval()[0](x) - plain(x), expected(network, x, lora_type, RANK), atol=1e-5, rtol=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert strength(lora_type, RANK) == ALPHA / RANK
    assert float(network.file_weights()["lora_unet_layer.alpha"]) == ALPHA


def test_layers_that_are_one_matrix_train_the_same_block_also_when_they_are_computed_again():
    model, network = trained_on("LyCORIS/DyLoRA", nn.Linear(5, 7), nn.Linear(5, 2))
    passes: list[int] = []

    def block(x: Tensor) -> Tensor:
        added = torch.cat([layer(x) - layer.base_layer(x) for layer in model], 1)
        passes.append(
            next(n for n in BLOCKS if torch.allclose(added, expected(network, x, "LyCORIS/DyLoRA", n), atol=1e-4))
        )
        return added.square().sum()

    for _ in range(20):
        checkpoint(block, torch.randn(3, 5, requires_grad=True), use_reentrant=False).backward()
    assert passes[::2] == passes[1::2]
    assert len(set(passes)) > 1
