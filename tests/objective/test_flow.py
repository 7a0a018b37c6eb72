"""Flow matching, against numbers worked out by hand or by another program."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from engine.models.flux import Flux
from engine.models.lumina import LuminaImage2
from engine.models.sd3 import StableDiffusion3
from engine.objective import flow
from engine.objective.flow_matching import FlowMatching, FlowRecipe
from engine.settings.objective import Objective
from engine.settings.training import TrainingSettings

LATENTS = torch.randn(4096, 1, 2, 2, generator=torch.Generator().manual_seed(3))


def corrupted(**recipe: Any):
    torch.manual_seed(5)
    return FlowMatching(Objective(), FlowRecipe(**recipe)).corrupt(LATENTS)


def sigmas(**recipe: Any) -> torch.Tensor:
    return corrupted(**recipe).timesteps / 1000


def test_noise_by_hand():
    """σ = 0.25: 0.75 · 2 + 0.25 · 6 = 3; the velocity is 6 − 2."""
    latents, drawn = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 6.0)
    assert flow.add_noise(latents, drawn, torch.tensor([0.25])).item() == 3
    assert flow.velocity(latents, drawn).item() == 4


def test_shifts_are_those_of_diffusers_schedulers():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    plain = torch.arange(1000, 0, -1) / 1000
    torch.testing.assert_close(flow.shifted(plain, 3.0), scheduler.sigmas[:1000], atol=1e-6, rtol=1e-5)
    for height, width in ((64, 64), (128, 128), (32, 96)):
        assert math.log(flow.shift_of_size(height, width)) == pytest.approx(calculate_shift(height * width // 4))


def test_weights_by_hand():
    half = torch.tensor([0.5])
    assert flow.inverse_square_weight(half).item() == 4
    assert flow.cosine_map_weight(half).item() == pytest.approx(2 / (math.pi * 0.5))
    assert flow.signal_to_noise(torch.tensor([0.25])).item() == pytest.approx(9)


def test_discrete_sigmas_are_counted_from_the_noisy_end():
    assert flow.discrete(torch.tensor([0.0, 0.0015, 0.9999])).tolist() == pytest.approx([1, 0.999, 0.001], abs=1e-6)


def test_the_velocity_is_asked_for_and_what_was_put_on_is_told():
    batch = corrupted(sampling="uniform")
    s = (batch.timesteps / 1000).view(-1, 1, 1, 1)
    # x_σ = x₀ + σ · v
    torch.testing.assert_close(batch.noisy, LATENTS + s * batch.target, atol=1e-5, rtol=1e-5)


def quantiles(values: torch.Tensor) -> list[float]:
    return torch.quantile(values, torch.tensor([0.25, 0.5, 0.75])).tolist()


# The quartiles of a normal distribution lie at ±0.6745.
NEXTDIT = math.exp(0.5 + 0.65 * (1 - 256) / 3840)
QUARTILE = 1 / (1 + math.exp(-0.6745))


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"sampling": "uniform"}, [0.25, 0.5, 0.75]),
        ({"sampling": "sigmoid"}, [1 - QUARTILE, 0.5, QUARTILE]),
        ({"sampling": "shift", "shift": 3.0}, [3 * s / (1 + 2 * s) for s in (1 - QUARTILE, 0.5, QUARTILE)]),
        # Latents of 2×2, which are one patch: FLUX.1's μ is 0.5 + (1.15 − 0.5) · (1 − 256) / 3840.
        ({"sampling": "nextdit_shift"}, [NEXTDIT * s / (1 + (NEXTDIT - 1) * s) for s in (0.25, 0.5, 0.75)]),
        ({"sampling": "sigma"}, [0.25, 0.5, 0.75]),
        ({"sampling": "sigma", "shift": 3.0}, [0.5, 0.75, 0.9]),
        ({"sampling": "sigma", "weighting": "logit_normal"}, [1 - QUARTILE, 0.5, QUARTILE]),
    ],
)
def test_how_often_each_amount_of_noise_is_drawn(recipe: dict[str, Any], expected: list[float]):
    assert quantiles(sigmas(**recipe)) == pytest.approx(expected, abs=0.03)


def test_mode_favours_the_middle():
    plain, mode = (sigmas(weighting=weighting, mode_scale=1.29) for weighting in ("uniform", "mode"))
    assert (mode - 0.5).abs().mean() < 0.7 * (plain - 0.5).abs().mean()


def test_a_shift_by_size_moves_large_pictures_further():
    torch.manual_seed(5)
    objective = FlowMatching(Objective(), FlowRecipe(sampling="flux_shift"))
    small, large = (objective.corrupt(torch.zeros(4096, 1, side, side)).timesteps.mean() for side in (32, 128))
    assert large > small + 50


def test_min_and_max_timestep_bound_a_flow_too():
    torch.manual_seed(5)
    objective = FlowMatching(Objective(min_timestep=200, max_timestep=700), FlowRecipe(sampling="uniform"))
    timesteps = objective.corrupt(LATENTS).timesteps
    assert (timesteps.min() >= 200, timesteps.max() <= 700) == (True, True)
    assert timesteps.max() - timesteps.min() > 480


@pytest.mark.parametrize("reading", ["raw", "sigma_scaled", "additive"])
def test_the_right_answer_costs_nothing_however_it_is_read(reading: str):
    objective = FlowMatching(Objective(), FlowRecipe(reading=reading))
    torch.manual_seed(5)
    batch = objective.corrupt(LATENTS)
    s = (batch.timesteps / 1000).view(-1, 1, 1, 1)
    velocity = (batch.noisy - LATENTS) / s
    right = velocity - batch.noisy if reading == "additive" else velocity
    assert objective.loss(right, batch).max() < 1e-6
    assert objective.loss(right + 0.1, batch).min() > 0


def test_weighted_by_the_inverse_square_an_error_of_the_picture_counts_as_one_of_the_velocity():
    objective = FlowMatching(Objective(), FlowRecipe(reading="sigma_scaled", weighting="sigma_sqrt"))
    torch.manual_seed(5)
    batch = objective.corrupt(LATENTS)
    velocity = (batch.noisy - LATENTS) / (batch.timesteps / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(objective.loss(velocity + 0.5, batch), torch.full((4096,), 0.25), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("schedule", ["constant", "exponential", "snr"])
def test_huber_losses_know_flows_too(schedule: str):
    objective = FlowMatching(Objective(loss_type="huber", huber_schedule=schedule), FlowRecipe())
    torch.manual_seed(5)
    batch = objective.corrupt(LATENTS)
    near, far = (objective.loss(batch.target + error, batch) for error in (0.01, 10.0))
    assert near.isfinite().all()
    assert (far < 100).all()  # the squared error


def recipe_of(family: Any, **changes: Any) -> FlowRecipe:
    settings = TrainingSettings().with_values(changes)
    return family(settings).objective(settings, None).recipe


@pytest.mark.shows("timestep_sampling", "discrete_flow_shift", "model_prediction_type")
def test_flux_follows_its_options():
    recipe = recipe_of(Flux, timestep_sampling="shift", discrete_flow_shift=2.5,
                       model_prediction_type="raw")  # fmt: skip
    assert (recipe.sampling, recipe.shift, recipe.reading) == ("shift", 2.5, "raw")


@pytest.mark.shows(
    "lumina_timestep_sampling", "lumina_discrete_flow_shift", "lumina_sigmoid_scale", "lumina_model_prediction_type"
)
def test_lumina_follows_its_options():
    assert recipe_of(LuminaImage2) == FlowRecipe(sampling="shift", shift=6.0, reading="raw")  # sd-scripts' defaults
    recipe = recipe_of(LuminaImage2, lumina_timestep_sampling="nextdit_shift", lumina_discrete_flow_shift=2.5,
                       lumina_sigmoid_scale=0.5, lumina_model_prediction_type="sigma_scaled")  # fmt: skip
    assert recipe == FlowRecipe("nextdit_shift", shift=2.5, sigmoid_scale=0.5, reading="sigma_scaled")


@pytest.mark.shows("weighting_scheme", "logit_mean", "logit_std", "mode_scale")
def test_sd3_follows_its_options_and_compares_the_picture():
    recipe = recipe_of(StableDiffusion3, weighting_scheme="mode", logit_mean=0.2, logit_std=0.7, mode_scale=0.9)
    assert recipe == FlowRecipe(sampling="density", shift=1.0, weighting="mode", logit_mean=0.2, logit_std=0.7,
                                mode_scale=0.9, reading="sigma_scaled")  # fmt: skip


@pytest.mark.parametrize("sampling", ["sigma", "flux_shift"])
def test_all_are_put_at_the_timestep_that_is_asked_for(sampling: str):
    objective = FlowMatching(Objective(min_timestep=100, max_timestep=600), FlowRecipe(sampling=sampling, shift=3))
    assert objective.corrupt(LATENTS, 0.2).timesteps.tolist() == pytest.approx([200] * len(LATENTS))
