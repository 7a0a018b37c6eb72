"""T-LoRA: how many ranks act in training hangs on how noisy each picture of the batch is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.models.targets import Attachment, Target
from engine.networks.made import kind_of
from engine.networks.weight_network import WeightNetwork
from engine.settings.training import TrainingSettings

RANK, ALPHA = 6, 3.0


def network_on(layer: nn.Module, group: Any = "unet", **told: Any) -> tuple[Any, WeightNetwork]:
    settings = TrainingSettings().with_values({"lora_type": "T-LoRA", "tlora_least_rank": 2, **told})
    model = nn.ModuleList([layer])
    kind = kind_of(settings)
    assert kind is not None
    target = Target(model, group, (Attachment("lora_unet_layer", ("0",)),))
    network = WeightNetwork([target], kind, {"lora_unet_layer": (RANK, ALPHA)}, told={})
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters(group):
            parameter.normal_()
    return model, network


def added(model: Any, x: Tensor) -> Tensor:
    return model[0](x) - model[0].base_layer(x)


def of_first(network: WeightNetwork, x: Tensor, ranks: int) -> Tensor:
    """What the first ranks alone add."""
    down, up = (tensor.flatten(1) for tensor in network.parameters("unet"))
    if x.dim() == 4:
        return torch.einsum("bihw,ri,or->bohw", x, down[:ranks], up[:, :ranks]) * ALPHA / RANK
    return x @ down[:ranks].T @ up[:, :ranks].T * ALPHA / RANK


# By hand: ⌊(1 − t/1000)^exponent · 4⌋ + 2.
ACTING = {1.0: {1000.0: 2, 999.0: 2, 750.0: 3, 500.0: 4, 250.0: 5, 1.0: 5, 0.0: 6}, 2.0: {500.0: 3, 250.0: 4, 0.0: 6}}


@pytest.mark.shows("tlora_least_rank", "tlora_exponent")
@pytest.mark.parametrize("exponent", ACTING)
@pytest.mark.parametrize("shape", [(5,), (3, 5), (5, 4, 4)])
def test_each_picture_of_a_batch_has_the_ranks_of_its_timestep(exponent: float, shape: tuple[int, ...]):
    layer = nn.Conv2d(5, 7, 1) if len(shape) == 3 else nn.Linear(5, 7)
    model, network = network_on(layer, tlora_exponent=exponent)
    timesteps = torch.tensor(list(ACTING[exponent]))
    network.see(timesteps)
    x = torch.randn(len(timesteps), *shape)
    expected = [of_first(network, one[None], ranks) for one, ranks in zip(x, ACTING[exponent].values(), strict=True)]
    torch.testing.assert_close(added(model, x), torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_from_pure_noise_only_the_least_ranks_learn():
    model, network = network_on(nn.Linear(5, 7))
    network.see(torch.tensor([1000, 1000]))
    added(model, torch.randn(2, 3, 5)).square().sum().backward()
    down, up = network.parameters("unet")
    assert (down.grad.abs().sum(1) > 0).tolist() == [True] * 2 + [False] * 4
    assert (up.grad.abs().sum(0) > 0).tolist() == [True] * 2 + [False] * 4


def test_in_use_all_ranks_act():
    model, network = network_on(nn.Linear(5, 7))
    network.see(torch.tensor([1000]))
    x = torch.randn(1, 3, 5)
    torch.testing.assert_close(added(model.eval(), x), of_first(network, x, RANK), atol=1e-5, rtol=1e-5)


def test_text_encoders_know_no_timestep():
    model, network = network_on(nn.Linear(5, 7), "text_encoder")
    x = torch.randn(4, 3, 5)
    before = added(model, x)
    network.see(torch.tensor([1000]))
    assert torch.equal(added(model, x), before)


GIVEN = {"lora_type": "T-LoRA", "network_dim": 4, "train_batch_size": 2, "gradient_checkpointing": True,
         "lr_scheduler": "constant", "save_precision": "float", "save_state_on_train_end": True}  # fmt: skip


def test_a_run_trains_more_ranks_on_less_noise_and_goes_on_to_the_same_bits(trained, tmp_path: Path):
    given = GIVEN | {"min_timestep": 900, "max_timestep": 1000}  # where only the least rank acts
    trained(output_name="whole", max_train_steps=4, **given)
    trained(output_name="half", max_train_steps=2, **given)
    trained(output_name="rest", max_train_steps=4, resume=str(tmp_path / "out" / "half-state"), **given)
    whole, rest = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "rest"))
    assert all(torch.equal(tensor, rest[name]) for name, tensor in whole.items())
    ups = {name: tensor for name, tensor in whole.items() if name.endswith("lora_up.weight")}
    for name, up in ups.items():
        learned = (up.flatten(1).abs().sum(0) > 0).tolist()
        assert learned == ([True, False, False, False] if name.startswith("lora_unet") else [True] * 4)
    with safe_open(tmp_path / "out" / "whole.safetensors", "pt") as file:
        assert file.metadata()["ss_network_module"] == "networks.lora"
