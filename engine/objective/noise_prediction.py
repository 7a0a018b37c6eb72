"""The objective of models that predict noise: what a batch is turned into, and what the answer costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objective import loss, noise, weights
from engine.objective.timesteps import uniform_timesteps
from engine.settings.objective import Objective


@dataclass(frozen=True)
class Corrupted:
    """noisy: what the model is shown, (B, C, h, w).  target: what it should answer.  timesteps: (B,)."""

    noisy: Tensor
    target: Tensor
    timesteps: Tensor


class NoisePrediction:
    """Random numbers come from torch's generator alone, so a seed set before corrupt() decides all of it."""

    def __init__(self, settings: Objective, alphas_cumprod: Tensor) -> None:
        self._settings, self._alphas_cumprod = settings, alphas_cumprod

    def corrupt(self, latents: Tensor) -> Corrupted:
        """Put noise on clean latents (B, C, h, w), at timesteps of its own choice."""
        target = self._noise(latents)
        total = len(self._alphas_cumprod)
        s = self._settings
        timesteps = uniform_timesteps(len(latents), s.min_timestep, min(s.max_timestep, total), latents.device)
        put_on = target
        if s.ip_noise_gamma:
            strength = s.ip_noise_gamma * (torch.rand(()) if s.ip_noise_gamma_random_strength else 1.0)
            put_on = target + strength * torch.randn_like(target)
        return Corrupted(noise.add_noise(latents, put_on, timesteps, self._alphas_cumprod), target, timesteps)

    def loss(self, prediction: Tensor, corrupted: Corrupted) -> Tensor:
        """What the prediction costs, by sample: (B,), in float32."""
        elements = self._elements(prediction.float(), corrupted.target.float(), corrupted.timesteps)
        return loss.mean_by_sample(elements) * self._weight(corrupted.timesteps)

    def _noise(self, latents: Tensor) -> Tensor:
        drawn = torch.randn_like(latents)
        s = self._settings
        if s.noise_offset_type == "Multires":
            if s.multires_noise_iterations:
                drawn = noise.multires_noise(drawn, s.multires_noise_iterations, s.multires_noise_discount)
        elif s.noise_offset:
            strength: float | Tensor = s.noise_offset
            if s.noise_offset_random_strength:
                strength = strength * torch.rand(()).to(latents.device)
            if s.adaptive_noise_scale:
                strength = noise.adaptive_strength(strength, s.adaptive_noise_scale, latents)
            drawn = noise.offset_noise(drawn, strength)
        return drawn

    def _elements(self, prediction: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        s = self._settings
        if s.loss_type == "l2":
            return loss.squared_error(prediction, target)
        if s.loss_type == "l1":
            return loss.absolute_error(prediction, target)
        robust = loss.pseudo_huber if s.loss_type == "huber" else loss.smooth_l1
        return robust(prediction, target, self._threshold(timesteps))

    def _threshold(self, timesteps: Tensor) -> Tensor:
        s = self._settings
        if s.huber_schedule == "constant":
            return loss.constant_threshold(timesteps, s.huber_c, s.huber_scale)
        if s.huber_schedule == "exponential":
            return loss.exponential_threshold(timesteps, len(self._alphas_cumprod), s.huber_c, s.huber_scale)
        return loss.snr_threshold(weights.signal_to_noise(timesteps, self._alphas_cumprod), s.huber_c)

    def _weight(self, timesteps: Tensor) -> Tensor:
        snr = weights.signal_to_noise(timesteps, self._alphas_cumprod)
        weight = torch.ones_like(snr)
        s = self._settings
        if s.min_snr_gamma:
            weight = weight * weights.min_snr_weight(snr, s.min_snr_gamma)
        if s.v_pred_like_loss:
            weight = weight * weights.velocity_like_weight(snr, s.v_pred_like_loss)
        if s.debiased_estimation_loss:
            weight = weight * weights.debiased_weight(snr)
        return weight
