"""What sd-scripts draws and weighs from the same seed and the same schedule, in figures that it printed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from engine.models import noise_schedule
from engine.models.flux import Flux
from engine.models.lumina import LuminaImage2
from engine.models.sd3 import StableDiffusion3
from engine.objective import flow, noise, weights
from engine.objective.flow_matching import FlowMatching
from engine.objective.noise_prediction import NoisePrediction
from engine.objective.timesteps import uniform_timesteps
from engine.settings.objective import Objective
from engine.settings.training import TrainingSettings

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def of(family: Any, **changes: Any) -> FlowMatching:
    settings = TrainingSettings().with_values(changes)
    made: FlowMatching = family(settings).objective(settings, None)
    return made


class TestStableDiffusion3:
    @pytest.mark.parametrize(
        ("changes", "drawn"),
        [
            ({"logit_mean": 1.0}, [606, 541, 870, 770, 809, 596]),
            ({"logit_mean": -0.5, "logit_std": 0.7}, [289, 252, 532, 412, 453, 283]),
            ({"weighting_scheme": "mode", "mode_scale": 1.0}, [463, 567, 906, 368, 205, 174]),
            (
                {"weighting_scheme": "uniform", "min_timestep": 200, "max_timestep": 300},
                [258, 235, 204, 273, 287, 290],
            ),
            ({"logit_mean": 1.0, "min_timestep": 200, "max_timestep": 700}, [503, 470, 635, 585, 604, 498]),
        ],
    )
    def test_the_same_timesteps_are_drawn(self, changes: dict[str, Any], drawn: list[int]):
        """By sd3_train_utils.get_noisy_model_input_and_timesteps() after torch.manual_seed(5) and the noise."""
        torch.manual_seed(5)
        found = of(StableDiffusion3, sd3_checkbox=True, **changes).corrupt(torch.zeros(6, 1, 2, 2)).timesteps
        assert found.tolist() == pytest.approx(drawn, abs=1e-3)

    @pytest.mark.shows("logit_mean")
    @pytest.mark.parametrize("mean", [-1.0, 0.0, 1.0, 2.5])
    def test_a_logit_mean_above_0_favours_more_noise(self, mean: float):
        """The mean of sigmoid(m + N(0, 1)) is ∫ φ(z) sigmoid(m + z) dz: 0.697 for 1, and 0.303 for −1."""
        z = np.linspace(-9, 9, 20001)
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        expected = float(np.sum(density / (1 + np.exp(-mean - z))) * (z[1] - z[0]))
        torch.manual_seed(0)
        found = of(StableDiffusion3, sd3_checkbox=True, logit_mean=mean).corrupt(torch.zeros(40000, 1, 1, 1)).timesteps
        assert found.mean().item() / 1000 == pytest.approx(expected, abs=0.004)

    def test_no_timestep_is_0_by_which_weights_would_divide(self):
        assert flow.whole_timesteps(torch.tensor([0.0, 0.0004, 0.0015, 0.9999, 1.0])).tolist() == pytest.approx(
            [0.001, 0.001, 0.001, 0.999, 1.0]
        )


class TestNoSignalAtTheEnd:
    """Stable Diffusion's schedule brought down to no signal, at timesteps 0, 500, 998 and 999."""

    TIMESTEPS = torch.tensor([0, 500, 998, 999])
    WEIGHTS: tuple[tuple[dict[str, Any], bool, list[float]], ...] = (
        ({"min_snr_gamma": 5}, False, [0.004253724, 1, 1, 1]),
        ({"min_snr_gamma": 5}, True, [0.004250109, 0.2763325, 0.004716696, 0.004660094]),
        ({"debiased_estimation_loss": True}, False, [0.03162278, 1.61828, 14.52628, 14.61465]),
        ({"debiased_estimation_loss": True}, True, [0.000999001, 0.7236676, 0.9952833, 0.9953399]),
        ({"v_pred_like_loss": 0.5}, False, [1.5005, 2.809414, 107.0064, 108.294]),
        ({"scale_v_pred_loss_like_noise_pred": True}, True, [0.999001, 0.2763325, 0.004716696, 0.004660094]),
    )

    def objective(self, of_velocity: bool, **changes: Any) -> NoisePrediction:
        plain = DDPMScheduler(**SCHEDULE).alphas_cumprod
        return NoisePrediction(Objective(**changes), noise.without_a_trace_of_signal(plain), plain, of_velocity)

    @pytest.mark.parametrize(("changes", "of_velocity", "expected"), WEIGHTS)
    def test_weights_are_of_the_schedule_as_it_was(
        self, changes: dict[str, Any], of_velocity: bool, expected: list[float]
    ):
        """sd-scripts notes the ratios in prepare_scheduler_for_custom_training() and mends the schedule after it."""
        objective = self.objective(of_velocity, **changes)
        corrupted = objective.corrupt(torch.zeros(4, 1, 2, 2))
        at = corrupted.__class__(corrupted.noisy, corrupted.target * 0, self.TIMESTEPS)
        found = objective.loss(torch.ones(4, 1, 2, 2), at)
        assert found.tolist() == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("schedule", ["constant", "exponential", "snr"])
    def test_huber_losses_are_numbers_there_too(self, schedule: str):
        objective = self.objective(False, loss_type="huber", huber_schedule=schedule, min_timestep=999)
        corrupted = objective.corrupt(torch.ones(4, 1, 2, 2))
        assert corrupted.timesteps.tolist() == [999] * 4
        assert objective.loss(corrupted.target + 1, corrupted).isfinite().all()

    def test_the_last_timestep_is_nothing_but_noise(self):
        objective = self.objective(True, min_timestep=999)
        pictures = torch.full((2, 1, 2, 2), 7.0)
        torch.manual_seed(1)
        corrupted = objective.corrupt(pictures)
        torch.manual_seed(1)
        torch.testing.assert_close(corrupted.noisy, torch.randn(2, 1, 2, 2))
        torch.testing.assert_close(corrupted.target, -pictures)  # v = √ᾱ ε − √(1 − ᾱ) x₀

    @pytest.mark.shows("zero_terminal_snr")
    @pytest.mark.parametrize(("by_file", "by_setting"), [(False, False), (True, False), (False, True), (True, True)])
    def test_the_model_or_the_settings_may_ask_for_it(self, by_file: bool, by_setting: bool):
        settings = TrainingSettings().with_values({"zero_terminal_snr": by_setting})
        told = noise_schedule.noise_schedule(SCHEDULE | {"rescale_betas_zero_snr": by_file}, settings)
        assert (told["alphas_cumprod"][-1].item() == 0) == (by_file or by_setting)
        assert bool(told["scheduler"]["rescale_betas_zero_snr"]) == (by_file or by_setting)
        assert told["alphas_with_signal"][-1].item() == pytest.approx(0.0046601, rel=1e-4)
        snr = weights.signal_to_noise(torch.tensor([999]), told["alphas_with_signal"])
        assert snr.item() == pytest.approx(0.00468191, rel=1e-4)  # ᾱ / (1 − ᾱ)


class TestOneTimestepAlone:
    """sd-scripts takes Min Timestep and Max Timestep that are equal for this timestep alone."""

    @pytest.mark.parametrize(("bound", "expected"), [(1, 1), (500, 500), (1000, 999)])
    def test_noise_is_put_on_at_it(self, bound: int, expected: int):
        settings = Objective(min_timestep=bound, max_timestep=bound)
        alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod
        for at in (None, 0.5):
            drawn = NoisePrediction(settings, alphas).corrupt(torch.zeros(3, 1, 2, 2), at)
            assert drawn.timesteps.tolist() == [expected] * 3

    @pytest.mark.parametrize(
        ("family", "changes"),
        [
            (StableDiffusion3, {"sd3_checkbox": True}),
            (Flux, {"flux1_checkbox": True}),
            (LuminaImage2, {"lumina_checkbox": True}),
        ],
    )
    def test_flows_have_it_too(self, family: Any, changes: dict[str, Any]):
        objective = of(family, min_timestep=400, max_timestep=400, **changes)
        assert objective.corrupt(torch.zeros(3, 1, 2, 2)).timesteps.tolist() == pytest.approx([400] * 3, abs=1e-3)

    def test_others_are_drawn_between_as_before(self):
        assert set(uniform_timesteps(500, 3, 5, torch.device("cpu")).tolist()) == {3, 4}
