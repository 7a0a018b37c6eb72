"""Learning rates over the steps, against their formulas; every sampler draws."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from engine.failure import Failure
from engine.settings.optimizer import Optimizer
from engine.settings.samples import Sampler
from engine.training.optimizers import make_optimizer
from engine.training.samplers import make_sampler
from engine.training.schedules import make_schedule, warmup_steps

TOTAL = 100


def rates(**changes: object) -> list[float]:
    """The factor on the learning rate in each of 100 steps."""
    settings = Optimizer(**changes)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(optimizer, settings, TOTAL)
    found = []
    for _ in range(TOTAL):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_constant_stays_whatever_the_warmup():
    assert rates(lr_scheduler="constant", lr_warmup=10) == [1.0] * TOTAL


def test_warmup_is_a_line_from_0():
    assert rates(lr_scheduler="constant_with_warmup", lr_warmup=10)[:12] == pytest.approx(
        [n / 10 for n in range(10)] + [1, 1]
    )


def test_linear_falls_to_0():
    assert rates(lr_scheduler="linear", lr_warmup=0) == pytest.approx([1 - n / TOTAL for n in range(TOTAL)])


@pytest.mark.shows("lr_scheduler")
def test_cosine_is_half_a_wave():
    expected = [0.5 * (1 + math.cos(math.pi * n / TOTAL)) for n in range(TOTAL)]
    assert rates(lr_scheduler="cosine", lr_warmup=0) == pytest.approx(expected)


@pytest.mark.shows("lr_scheduler_num_cycles")
def test_restarts_begin_anew_at_the_full_rate():
    found = rates(lr_scheduler="cosine_with_restarts", lr_warmup=0, lr_scheduler_num_cycles=2)
    assert found[0] == pytest.approx(1)
    assert found[50] == pytest.approx(1)
    assert found[49] < 0.01


@pytest.mark.shows("lr_scheduler_power")
def test_polynomial_has_its_power():
    """diffusers' polynomial ends at 1e-7: (1 − 1e-7)(1 − n/N)² + 1e-7."""
    found = rates(lr_scheduler="polynomial", lr_warmup=0, lr_scheduler_power=2)
    assert found == pytest.approx([(1 - 1e-7) * (1 - n / TOTAL) ** 2 + 1e-7 for n in range(TOTAL)])


@pytest.mark.shows("lr_scheduler_args")
def test_schedules_with_arguments_of_their_own():
    stable = rates(lr_scheduler="warmup_stable_decay", lr_warmup=10, lr_scheduler_args="num_decay_steps=20")
    assert stable[10:80] == [1.0] * 70
    assert stable[99] < 0.05
    assert rates(lr_scheduler="warmup_stable_decay", lr_warmup=0)[:80] == [1.0] * 80  # four fifths
    assert rates(lr_scheduler="cosine_with_min_lr", lr_warmup=0, lr_scheduler_args="min_lr_rate=0.2")[99] > 0.2
    pieces = rates(lr_scheduler="piecewise_constant", lr_scheduler_args="step_rules='1:30,0.5:60,0.1'")
    assert [pieces[n] for n in (0, 29, 30, 59, 60, 99)] == [1, 1, 0.5, 0.5, 0.1, 0.1]
    # 1/√(n + shift) with the warmup of 10 as timescale: half of it after 30 steps more.
    assert rates(lr_scheduler="inverse_sqrt", lr_warmup=10)[40] == pytest.approx(0.5, rel=0.02)


@pytest.mark.shows("lr_scheduler_type")
def test_a_class_of_torch_by_its_name():
    found = rates(lr_scheduler_type="StepLR", lr_scheduler_args="step_size=50 gamma=0.1")
    assert [found[49], found[50]] == pytest.approx([1, 0.1])
    full_name = rates(lr_scheduler_type="torch.optim.lr_scheduler.StepLR", lr_scheduler_args="step_size=50 gamma=0.1")
    assert full_name == found


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_scheduler_type": "NoSuchLR"},
        {"lr_scheduler_type": "pydoc.pipepager"},  # a name in a file must not be able to run anything
        {"lr_scheduler_type": "ReduceLROnPlateau"},
        {"lr_scheduler_args": "nonsense=1"},
    ],
)
def test_a_schedule_that_cannot_be_made_is_said_in_words(changes: dict[str, str]):
    with pytest.raises(Failure, match="cannot be used") as caught:
        rates(**changes)
    assert caught.value.option == "lr_scheduler_args"


@pytest.mark.shows("lr_warmup", "lr_warmup_steps")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr_scheduler": "cosine", "lr_warmup": 10}, 10),
        ({"lr_scheduler": "cosine", "lr_warmup": 10, "lr_warmup_steps": 33}, 33),
        ({"lr_scheduler": "cosine", "lr_warmup": 0}, 0),
        ({"lr_scheduler": "constant", "lr_warmup_steps": 33}, 0),
    ],
)
def test_warmup_in_percent_or_steps(changes: dict, expected: int):
    assert warmup_steps(Optimizer(**changes), TOTAL) == expected


@pytest.mark.parametrize("name", ["AdamW", "AdamW8bit"])
def test_optimizers_take_their_extra_arguments(name: str):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(4))], "lr": 1e-3}]
    made = make_optimizer(groups, Optimizer(optimizer=name, optimizer_args="weight_decay=0.25 betas=0.8,0.9"))
    assert type(made).__name__ == name
    assert made.param_groups[0]["weight_decay"] == 0.25
    assert tuple(made.param_groups[0]["betas"]) == (0.8, 0.9)


def test_an_argument_that_the_optimizer_does_not_take_is_said_in_words():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(4))], "lr": 1e-3}]
    with pytest.raises(Failure, match="AdamW does not take these settings") as failed:
        make_optimizer(groups, Optimizer(optimizer="AdamW", optimizer_args="magic=1"))
    assert failed.value.option == "optimizer_args"


@pytest.mark.parametrize("name", get_args(Sampler))
def test_every_sampler_leads_from_noise_to_the_picture(name: str):
    """A model that knows the clean picture must be led to it exactly by any sampler."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas_cumprod = (1 - betas).cumprod(0)
    sampler = make_sampler(name, alphas_cumprod)
    torch.testing.assert_close(sampler.alphas_cumprod.float(), alphas_cumprod, rtol=1e-4, atol=1e-6)
    torch.manual_seed(0)
    clean = torch.randn(1, 4, 4, 4)
    sampler.set_timesteps(20)
    sample = torch.randn_like(clean) * sampler.init_noise_sigma
    for t in sampler.timesteps:
        scaled = sampler.scale_model_input(sample, t)
        alpha = _alpha(alphas_cumprod, float(t))
        noise = (scaled - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        sample = sampler.step(noise, t, sample).prev_sample
    torch.testing.assert_close(sample, clean, atol=0.15, rtol=0.1)


def _alpha(alphas_cumprod: torch.Tensor, t: float) -> torch.Tensor:
    """ᾱ between two timesteps, with log σ in a straight line, as k-diffusion's samplers have it."""
    sigmas = ((1 - alphas_cumprod) / alphas_cumprod).sqrt().log()
    low = min(int(t), len(sigmas) - 2)
    log_sigma = sigmas[low] + (t - low) * (sigmas[low + 1] - sigmas[low])
    return 1 / (1 + log_sigma.exp() ** 2)
