"""Weights that are updated within the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from engine.settings.optimizer import Optimizer
from engine.training.optimizers import make_optimizer
from engine.training.schedules import make_schedule
from engine.training.updates import AllAtOnce, Fused


def trained(fused: bool, **settings: Any) -> tuple[Tensor, list[float], int]:
    """(weights, the steps' gradient norms, the most gradients that lay in memory when a step's last was known)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    groups = [
        {"name": "a", "params": list(model[0].parameters()), "lr": 1e-2},
        {"name": "b", "params": [*model[2].parameters(), *model[4].parameters()], "lr": 3e-3},
    ]
    chosen = Optimizer(**{"optimizer": "AdamW", "lr_scheduler": "cosine", **settings})
    optimizer = make_optimizer(groups, chosen)
    schedule = make_schedule(optimizer, chosen, 10)
    parameters = list(model.parameters())
    updates: Any = Fused(optimizer, 0) if fused else AllAtOnce(optimizer, parameters, 0, Accelerator(cpu=True))
    first, held, norms = parameters[0], [0], []
    first.register_hook(lambda _: held.append(sum(p.grad is not None for p in parameters)))  # the last to be known
    for _ in range(10):
        model(torch.randn(16, 8)).square().mean().backward()
        norms.append(float(updates.finish()))
        schedule.step()
        assert all(p.grad is None for p in parameters)
    return torch.cat([p.detach().flatten() for p in parameters]), norms, max(held)


@pytest.mark.shows("fused_backward_pass", "fused_optimizer_groups", "blockwise_fused_optimizers",
                   "flux_fused_backward_pass", "sd3_fused_backward_pass")  # fmt: skip
@pytest.mark.parametrize(
    "optimizer", ["AdamW", "AdamW8bit", "Adafactor", "Lion", "SGDNesterov", "pytorch_optimizer.CAME"]
)
def test_fused_updates_are_those_of_all_at_once_without_all_the_gradients(optimizer: str):
    arguments = "relative_step=False" if optimizer == "Adafactor" else ""
    fused, norms, most = trained(True, optimizer=optimizer, optimizer_args=arguments)
    whole, same, all_of_them = trained(False, optimizer=optimizer, optimizer_args=arguments)
    assert torch.equal(fused, whole)
    assert norms == pytest.approx(same, rel=1e-5)
    assert most <= 1 < all_of_them  # a layer's bias may be known before its weights


def test_each_gradient_is_shortened_by_itself():
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    updates = Fused(optimizer, 1.0)
    (weights[0].sum() * 10 + weights[1].sum() * 0.1).backward()
    assert float(updates.finish()) == pytest.approx((3 * 100 + 3 * 0.01) ** 0.5)
    assert weights[0].norm().item() == pytest.approx(1, rel=1e-4)
    assert weights[1].norm().item() == pytest.approx(0.1 * 3**0.5, rel=1e-4)


def test_full_fp16_lets_the_scaler_take_half_gradients():
    from engine.training.hardware import allow_half_gradients

    weight = nn.Parameter(torch.ones(4, dtype=torch.float16))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for allowed in (False, True):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        if allowed:
            allow_half_gradients(scaler)
        weight.grad = None
        scaler.scale((weight * 2).sum()).backward()
        if not allowed:
            with pytest.raises(ValueError, match="FP16"):
                scaler.unscale_(optimizer)
            continue
        scaler.step(optimizer)
    assert torch.equal(weight.data, torch.full((4,), -1.0, dtype=torch.float16))
