"""GGPO perturbs a LoRA's weights in training: by the formula of sd-scripts' networks.lora_flux, from step two on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.models.targets import Attachment, Target
from engine.networks.dropout import Dropouts
from engine.networks.ggpo import GGPO
from engine.networks.lora import LoraNetwork
from engine.settings.training import TrainingSettings

SIGMA, BETA, RANK, ALPHA = 0.3, 0.7, 2, 3.0
ROWS = [7, 4]


def perturbed(**dropouts: float) -> tuple[Any, LoraNetwork]:
    """Two layers that are one matrix, with a network that has learned something."""
    torch.manual_seed(0)
    model = nn.ModuleList(nn.Linear(5, rows) for rows in ROWS)
    target = Target(model, "unet", (Attachment("lora_unet_layer", ("0", "1")),))
    network = LoraNetwork([target], RANK, ALPHA, Dropouts(**dropouts), ggpo=GGPO(SIGMA, BETA))
    with torch.no_grad():
        for parameter in network.parameters("unet"):
            parameter.normal_()
    return model.train(), network


def passed(model: Any, x: Tensor, seed: int = 1) -> Tensor:
    torch.manual_seed(seed)
    return torch.cat([layer(x) for layer in model], 1)


def width(model: Any, network: LoraNetwork) -> Tensor:
    """(rows,), by the formula: (σ · √(mean ‖W row‖² + ‖s·BA row‖²) + β · ‖s·(B·∂A + ∂B·A) row‖²) / √rows."""
    down, *ups = network.parameters("unet")
    up, scale = torch.cat(ups), ALPHA / RANK
    original = torch.cat([layer.base_layer.weight for layer in model]).norm(dim=1).mean()
    weights = (original**2 + (up @ down * scale).square().sum(1)).sqrt()
    gradient = up @ down.grad + torch.cat([one.grad for one in ups]) @ down
    gradients = (gradient * scale).norm(dim=1)
    return ((SIGMA * weights + BETA * gradients**2) / sum(ROWS) ** 0.5).detach()


def test_before_gradients_are_seen_nothing_is_perturbed():
    model, network = perturbed()
    x = torch.randn(3, 5)
    before = torch.get_rng_state()
    trains = torch.cat([layer(x) for layer in model], 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(trains, passed(model.eval(), x))
    assert set(network.state_dict()) == set(network.file_weights())


@pytest.mark.shows("train_lora_ggpo", "ggpo_sigma", "ggpo_beta")
def test_then_each_row_is_perturbed_by_its_norm_and_its_gradient_s():
    model, network = perturbed()
    passed(model, torch.randn(3, 5)).square().sum().backward()
    network.before_update()
    expected = width(model, network)
    seen = torch.eye(5)  # so that what is added is the noise itself, and the layers' biases
    plain = passed(model.eval(), seen)
    model.train()
    noises = torch.stack([passed(model, seen, seed) - plain for seed in range(2000)])
    torch.testing.assert_close(noises.std(dim=(0, 1)), expected, rtol=0.05, atol=0)
    assert (noises.mean(dim=(0, 1)).abs() < 0.05 * expected).all()


def test_no_gradient_goes_through_the_noise():
    model, network = perturbed()
    passed(model, torch.randn(3, 5)).square().sum().backward()
    network.before_update()
    x = torch.randn(3, 5, requires_grad=True)
    passed(model, x).sum().backward()
    noisy, x.grad = x.grad, None
    passed(model.eval(), x).sum().backward()
    torch.testing.assert_close(noisy, x.grad)


def test_what_module_dropout_leaves_out_is_not_perturbed():
    model, network = perturbed(module=1.0)
    network._perturbations["lora_unet_layer"].load_state_dict(
        {"ggpo_weights": torch.ones(sum(ROWS)), "ggpo_gradients": torch.ones(sum(ROWS))}
    )
    x = torch.randn(3, 5)
    torch.testing.assert_close(passed(model, x), torch.cat([layer.base_layer(x) for layer in model], 1))


def test_the_norms_belong_to_the_state_and_not_to_the_file():
    model, network = perturbed()
    passed(model, torch.randn(3, 5)).square().sum().backward()
    network.before_update()
    other, again = perturbed()
    again.load_state_dict(network.state_dict())
    x = torch.randn(3, 5)
    assert torch.equal(passed(model, x), passed(other, x))
    assert not torch.equal(passed(model, x), passed(model, x, seed=2))
    assert not any("ggpo" in name for name in network.file_weights())


def test_gradients_that_overflow_perturb_nothing():
    model, network = perturbed()
    passed(model, torch.randn(3, 5)).square().sum().backward()
    for parameter in network.parameters("unet"):
        assert parameter.grad is not None
        parameter.grad.fill_(float("inf"))
    network.before_update()
    assert passed(model, torch.randn(3, 5)).isfinite().all()


GIVEN = {"train_lora_ggpo": True, "ggpo_sigma": 0.1, "module_dropout": 0.2, "max_grad_norm": 1,
         "gradient_checkpointing": True, "lr_scheduler": "constant", "save_precision": "float",
         "save_state_on_train_end": True}  # fmt: skip


def test_a_run_is_perturbed_and_goes_on_to_the_same_bits(trained, tmp_path: Path):
    trained(output_name="whole", max_train_steps=4, **GIVEN)
    trained(output_name="half", max_train_steps=2, **GIVEN)
    trained(output_name="rest", max_train_steps=4, resume=str(tmp_path / "out" / "half-state"), **GIVEN)
    trained(output_name="plain", max_train_steps=4, **{**GIVEN, "train_lora_ggpo": False})
    whole, rest, plain = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "rest", "plain"))
    assert all(torch.equal(tensor, rest[name]) for name, tensor in whole.items())
    assert whole.keys() == plain.keys()
    assert any(not torch.equal(tensor, plain[name]) for name, tensor in whole.items())


def test_lora_types_that_have_no_such_thing_leave_it_out():
    assert (
        not TrainingSettings().with_values({"train_lora_ggpo": True, "lora_type": "LoRA-FA"}).applied("train_lora_ggpo")
    )
