"""The maths, against numbers worked out by hand or by another program."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from engine.models.noise_schedule import prediction_of
from engine.objective import loss, noise, weights
from engine.objective.noise_prediction import NoisePrediction
from engine.objective.timesteps import uniform_timesteps
from engine.settings.objective import Objective
from engine.settings.training import TrainingSettings

ALPHAS = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod


def test_noise_is_put_on_as_diffusers_does_it():
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latents, drawn = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8)
    timesteps = torch.tensor([0, 10, 500, 999])
    ours = noise.add_noise(latents, drawn, timesteps, scheduler.alphas_cumprod)
    torch.testing.assert_close(ours, scheduler.add_noise(latents, drawn, timesteps))


def test_noise_by_hand():
    """ᾱ = 0.64: 0.8 · 2 + 0.6 · 1 = 2.2."""
    noisy = noise.add_noise(
        torch.full((1, 1, 1, 1), 2.0), torch.ones(1, 1, 1, 1), torch.tensor([0]), torch.tensor([0.64])
    )
    torch.testing.assert_close(noisy, torch.full((1, 1, 1, 1), 2.2))


def test_offset_noise_moves_each_picture_and_channel_as_a_whole():
    torch.manual_seed(0)
    moved = noise.offset_noise(torch.zeros(2000, 4, 3, 3), 0.5)
    assert torch.equal(moved, moved[..., :1, :1].expand_as(moved))
    assert moved[:, :, 0, 0].std().item() == pytest.approx(0.5, rel=0.05)


def test_the_adaptive_strength_grows_with_the_mean_of_the_latent():
    """0.1 + 0.5 · |−0.6| = 0.4; 0.1 − 0.5 · 0.6 is below 0."""
    latents = torch.full((1, 1, 2, 2), -0.6)
    assert noise.adaptive_strength(0.1, 0.5, latents).item() == pytest.approx(0.4)
    assert noise.adaptive_strength(0.1, -0.5, latents).item() == 0


def test_multires_noise_has_a_deviation_of_1_and_is_smoother_than_plain_noise():
    torch.manual_seed(0)
    plain = torch.randn(64, 4, 32, 32)
    coarse = noise.multires_noise(plain, iterations=6, discount=0.9)
    assert coarse.std().item() == pytest.approx(1, rel=1e-3)

    def likeness(picture: torch.Tensor) -> float:
        """Correlation of neighbours."""
        return (picture[..., 1:] * picture[..., :-1]).mean().item()

    assert abs(likeness(plain)) < 0.01
    assert likeness(coarse) > 0.2


def test_multires_noise_ends_where_a_side_has_shrunk_to_one_element():
    torch.manual_seed(0)
    assert noise.multires_noise(torch.randn(1, 1, 2, 8), iterations=64, discount=0.9).isfinite().all()


def test_errors_by_hand():
    """For an error of 3: 3² = 9 and |3| = 3; for δ = 4: 2 · 4 · (5 − 4) = 8 and 2 · (5 − 4) = 2."""
    prediction, target = torch.full((1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1), 2.0)
    assert loss.squared_error(prediction, target).item() == 9
    assert loss.absolute_error(prediction, target).item() == 3
    assert loss.pseudo_huber(prediction, target, torch.tensor([4.0])).item() == 8
    assert loss.smooth_l1(prediction, target, torch.tensor([4.0])).item() == 2


def test_thresholds_by_hand():
    """c = 0.1, scale 2, T = 1000; without noise exponential gives the scale, at the end c · scale.

    SNR 1 means σ = 1: 0.9 / 4 + 0.1 = 0.325.
    """
    ends = torch.tensor([0, 500, 1000])
    assert loss.constant_threshold(ends, 0.1, 2).tolist() == pytest.approx([0.2] * 3)
    assert loss.exponential_threshold(ends, 1000, 0.1, 2).tolist() == pytest.approx([2, 2 * math.sqrt(0.1), 0.2])
    assert loss.snr_threshold(torch.tensor([1.0]), 0.1).item() == pytest.approx(0.325)


def test_weights_by_hand():
    """ᾱ = 0.9 and 0.1 are SNRs of 9 and 1/9."""
    snr = weights.signal_to_noise(torch.tensor([0, 1]), torch.tensor([0.9, 0.1]))
    assert snr.tolist() == pytest.approx([9, 1 / 9])
    assert weights.min_snr_weight(snr, 5).tolist() == pytest.approx([5 / 9, 1])
    assert weights.debiased_weight(snr).tolist() == pytest.approx([1 / 3, 3])
    assert weights.velocity_like_weight(snr, 0.5).tolist() == pytest.approx([1 + 0.5 / 0.9, 1 + 0.5 / 0.1])
    assert weights.debiased_weight(torch.tensor([1e9])).item() == pytest.approx(1000**-0.5)


def test_weights_of_a_velocity_by_hand():
    snr = torch.tensor([9.0, 1 / 9])
    assert weights.min_snr_weight(snr, 5, of_velocity=True).tolist() == pytest.approx([5 / 10, (1 / 9) / (10 / 9)])
    assert weights.debiased_weight(snr, of_velocity=True).tolist() == pytest.approx([1 / 10, 9 / 10])
    assert weights.noise_like_weight(snr).tolist() == pytest.approx([0.9, 0.1])


def test_velocity_is_diffusers_own():
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latents, drawn = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8)
    timesteps = torch.tensor([0, 10, 500, 999])
    ours = noise.velocity(latents, drawn, timesteps, scheduler.alphas_cumprod)
    torch.testing.assert_close(ours, scheduler.get_velocity(latents, drawn, timesteps))


def test_a_schedule_without_a_trace_of_signal_is_diffusers_own():
    plain = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    theirs = DDPMScheduler(**plain, rescale_betas_zero_snr=True).alphas_cumprod
    ours = noise.without_a_trace_of_signal(ALPHAS)
    assert ours[-1] == 0
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


def test_timesteps_are_spread_evenly_over_their_range():
    torch.manual_seed(0)
    drawn = uniform_timesteps(100_000, 200, 700, torch.device("cpu"))
    assert (drawn.min().item(), drawn.max().item()) == (200, 699)
    # 50 bins of 2000 expected each; χ² with 49 degrees of freedom stays below 85.4 with p = 0.999.
    counts = torch.bincount((drawn - 200) // 10, minlength=50).double()
    assert ((counts - 2000) ** 2 / 2000).sum().item() < 85.4


class TestVelocityPrediction:
    LATENTS = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(3))

    @pytest.mark.shows("v_parameterization")
    def test_the_velocity_is_asked_for_in_place_of_the_noise(self):
        plain, of_velocity = (NoisePrediction(Objective(), ALPHAS, of_velocity=v) for v in (False, True))
        torch.manual_seed(5)
        drawn = plain.corrupt(self.LATENTS)
        torch.manual_seed(5)
        asked = of_velocity.corrupt(self.LATENTS)
        assert torch.equal(asked.noisy, drawn.noisy)
        torch.testing.assert_close(asked.target, noise.velocity(self.LATENTS, drawn.target, drawn.timesteps, ALPHAS))
        on = TrainingSettings().with_values({"v_parameterization": True})
        assert prediction_of({"prediction_type": "epsilon"}, on) == "v_prediction"
        assert prediction_of({"prediction_type": "v_prediction"}, TrainingSettings()) == "v_prediction"
        assert prediction_of({}, TrainingSettings()) == "epsilon"

    @pytest.mark.shows("scale_v_pred_loss_like_noise_pred")
    def test_its_loss_may_be_scaled_to_that_of_the_noise(self):
        """An error of ε is √ᾱ times one of v, so the loss of v times ᾱ is the noise's."""
        torch.manual_seed(5)
        objective = NoisePrediction(Objective(scale_v_pred_loss_like_noise_pred=True), ALPHAS, of_velocity=True)
        batch = objective.corrupt(self.LATENTS)
        alpha = ALPHAS[batch.timesteps]
        snr = alpha / (1 - alpha)
        expected = 0.25 * (snr.clamp(max=1000) / (snr.clamp(max=1000) + 1))
        torch.testing.assert_close(objective.loss(batch.target + 0.5, batch), expected)
        of_noise = NoisePrediction(Objective(scale_v_pred_loss_like_noise_pred=True), ALPHAS)
        assert of_noise.loss(batch.target + 0.5, batch).unique().tolist() == pytest.approx([0.25])


class TestNoisePrediction:
    """The options put together: what each does to a batch and to its loss."""

    LATENTS = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(3))

    def test_all_are_put_at_the_timestep_that_is_asked_for(self):
        objective = NoisePrediction(Objective(min_timestep=100, max_timestep=600), ALPHAS)
        assert objective.corrupt(self.LATENTS, 0.2).timesteps.tolist() == [200] * len(self.LATENTS)

    def corrupted(self, **changes: Any):
        torch.manual_seed(5)
        return NoisePrediction(Objective(**changes), ALPHAS).corrupt(self.LATENTS)

    def losses(self, **changes: Any) -> torch.Tensor:
        """Of a prediction that is off by 0.5 everywhere, on the same batch."""
        plain = self.corrupted()
        return NoisePrediction(Objective(**changes), ALPHAS).loss(plain.target + 0.5, plain)

    def test_plain_noise_is_what_is_put_on_and_what_is_asked_for(self):
        plain = self.corrupted()
        torch.testing.assert_close(plain.noisy, noise.add_noise(self.LATENTS, plain.target, plain.timesteps, ALPHAS))
        assert plain.target.std().item() == pytest.approx(1, rel=0.02)

    @pytest.mark.shows("noise_offset", "noise_offset_type")
    def test_noise_offset_widens_the_means(self):
        def spread(**changes: Any) -> float:
            return self.corrupted(**changes).target.mean(dim=(2, 3)).std().item()

        # Means over 64 elements have a deviation of 1/8; with an offset of 0.5 √(1/64 + 0.25) = 0.515.
        assert spread() == pytest.approx(0.125, rel=0.15)
        assert spread(noise_offset=0.5) == pytest.approx(0.515, rel=0.15)
        assert spread(noise_offset=0.5, noise_offset_type="Multires") == spread()

    @pytest.mark.shows("noise_offset_random_strength", "adaptive_noise_scale")
    def test_its_strength_may_be_drawn_and_may_follow_the_latent(self):
        fixed = self.corrupted(noise_offset=0.5).target
        drawn = self.corrupted(noise_offset=0.5, noise_offset_random_strength=True).target
        plain = self.corrupted().target
        assert 0 < (drawn - plain).abs().mean() < (fixed - plain).abs().mean()
        adaptive = self.corrupted(noise_offset=0.5, adaptive_noise_scale=1).target
        assert (adaptive - plain).abs().mean() > (fixed - plain).abs().mean()

    @pytest.mark.shows("multires_noise_iterations", "multires_noise_discount")
    def test_multires_noise_is_asked_for_too(self):
        def changed(**changes: Any) -> float:
            multires = self.corrupted(noise_offset_type="Multires", **changes)
            return (multires.target - self.corrupted().target).abs().mean().item()

        assert changed() == 0
        weak = changed(multires_noise_iterations=6, multires_noise_discount=0.1)
        assert 0 < weak < changed(multires_noise_iterations=6, multires_noise_discount=0.8)

    def test_an_offset_comes_before_multires_noise_where_both_are_told(self):
        def target(**changes: Any) -> torch.Tensor:
            return self.corrupted(multires_noise_iterations=6, multires_noise_discount=0.8, **changes).target

        offset = self.corrupted(noise_offset=0.5).target
        torch.manual_seed(5)
        torch.randn_like(self.LATENTS), torch.randn(64, 4, 1, 1)  # what the noise and its offset draw
        expected = noise.multires_noise(offset, 6, 0.8)
        both = target(noise_offset=0.5, noise_offset_type="Both")
        torch.testing.assert_close(both, expected)
        assert (both - target(noise_offset=0.5, noise_offset_type="Multires")).abs().max() > 0.1
        torch.testing.assert_close(target(noise_offset_type="Both"), target(noise_offset_type="Multires"))

    @pytest.mark.shows("ip_noise_gamma", "ip_noise_gamma_random_strength")
    def test_input_perturbation_disturbs_what_is_shown_but_not_what_is_asked_for(self):
        def disturbance(**changes: Any) -> float:
            batch = self.corrupted(ip_noise_gamma=0.3, **changes)
            told = noise.add_noise(self.LATENTS, batch.target, batch.timesteps, ALPHAS)
            share = (1 - ALPHAS[batch.timesteps]).sqrt().view(-1, 1, 1, 1)
            return ((batch.noisy - told) / share).std().item()

        assert disturbance() == pytest.approx(0.3, rel=0.05)
        assert 0 < disturbance(ip_noise_gamma_random_strength=True) < 0.3

    @pytest.mark.shows("min_timestep", "max_timestep")
    def test_timesteps_stay_between_their_bounds(self):
        timesteps = self.corrupted(min_timestep=300, max_timestep=320).timesteps
        assert set(timesteps.tolist()) <= set(range(300, 320))

    @pytest.mark.shows("loss_type", "huber_c", "huber_scale", "huber_schedule")
    def test_losses_of_an_error_of_one_half(self):
        assert self.losses() == pytest.approx(0.25)
        assert self.losses(loss_type="l1") == pytest.approx(0.5)
        # δ = 0.5 · 0.75 = 0.375: √(0.25 + 0.140625) − 0.375 = 0.25
        constant = {"huber_schedule": "constant", "huber_c": 0.5, "huber_scale": 0.75}
        assert self.losses(loss_type="huber", **constant) == pytest.approx(2 * 0.375 * 0.25)
        assert self.losses(loss_type="smooth_l1", **constant) == pytest.approx(2 * 0.25)
        timesteps = self.corrupted().timesteps
        by_time = self.losses(loss_type="smooth_l1", huber_schedule="exponential", huber_c=0.01)
        assert by_time[timesteps.argmax()] > by_time[timesteps.argmin()]
        assert len(set(self.losses(loss_type="huber", huber_schedule="snr").tolist())) > 1

    @pytest.mark.shows("min_snr_gamma", "debiased_estimation_loss", "v_pred_like_loss")
    def test_weights_are_those_of_the_timesteps(self):
        snr = weights.signal_to_noise(self.corrupted().timesteps, ALPHAS)
        torch.testing.assert_close(self.losses(min_snr_gamma=5), 0.25 * snr.clamp(max=5) / snr)
        torch.testing.assert_close(self.losses(debiased_estimation_loss=True), 0.25 / snr.clamp(max=1000).sqrt())
        capped = snr.clamp(max=1000)
        torch.testing.assert_close(self.losses(v_pred_like_loss=0.2), 0.25 * (1 + 0.2 * (capped + 1) / capped))

    def test_the_loss_of_half_precision_is_taken_in_full(self):
        """300² = 90,000 is above fp16's 65,504."""
        plain = self.corrupted()
        far = (plain.target.half() + 300).half()
        assert NoisePrediction(Objective(), ALPHAS).loss(far, plain).isfinite().all()
