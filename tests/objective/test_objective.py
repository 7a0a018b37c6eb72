"""The maths, against numbers worked out by hand or by another program."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler

from engine.objective.loss import squared_error
from engine.objective.noise import add_noise
from engine.objective.timesteps import uniform_timesteps


def test_noise_is_put_on_as_diffusers_does_it():
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latents, noise = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8)
    timesteps = torch.tensor([0, 10, 500, 999])
    ours = add_noise(latents, noise, timesteps, scheduler.alphas_cumprod)
    torch.testing.assert_close(ours, scheduler.add_noise(latents, noise, timesteps))


def test_noise_by_hand():
    """ᾱ = 0.64: 0.8 · 2 + 0.6 · 1 = 2.2."""
    noisy = add_noise(torch.full((1, 1, 1, 1), 2.0), torch.ones(1, 1, 1, 1), torch.tensor([0]), torch.tensor([0.64]))
    torch.testing.assert_close(noisy, torch.full((1, 1, 1, 1), 2.2))


def test_the_loss_is_the_mean_over_each_samples_elements():
    """(1 + 9) / 2 = 5 and (0 + 4) / 2 = 2."""
    prediction = torch.tensor([[[[1.0, 3.0]]], [[[0.0, 2.0]]]])
    assert squared_error(prediction, torch.zeros_like(prediction)).tolist() == [5.0, 2.0]


def test_the_loss_of_half_precision_is_taken_in_full():
    prediction = torch.full((1, 1, 1, 1), 300.0, dtype=torch.float16)
    assert squared_error(prediction, torch.zeros_like(prediction)).item() == 90_000  # above fp16's 65,504


def test_timesteps_are_spread_evenly_over_the_whole_schedule():
    torch.manual_seed(0)
    drawn = uniform_timesteps(100_000, 1000, torch.device("cpu"))
    assert (drawn.min().item(), drawn.max().item()) == (0, 999)
    # 100 bins of 1000 expected each; χ² with 99 degrees of freedom stays below 148.2 with p = 0.999.
    counts = torch.bincount(drawn // 10, minlength=100).double()
    assert ((counts - 1000) ** 2 / 1000).sum().item() < 148.2
