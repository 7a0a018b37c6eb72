"""The objective of models that predict noise or velocity: how a batch is noised, and what the prediction costs."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.objective import loss, noise, weights
from engine.objective.objective import Corrupted
from engine.objective.timesteps import uniform_timesteps
from engine.settings.objective import Objective


class NoisePrediction:
    """alphas_cumprod: (T,), for adding noise.  weighed_by: (T,), for timestep weights, the same if None.
    of_velocity: the model predicts velocity instead of noise.

    With zero terminal SNR the ratio at the end is 0, by which weights would divide. As in sd-scripts, the ratios are
    taken from the schedule before it was changed.
    """

    def __init__(
        self, settings: Objective, alphas_cumprod: Tensor, weighed_by: Tensor | None = None, of_velocity: bool = False
    ) -> None:
        self._settings, self._alphas_cumprod, self._of_velocity = settings, alphas_cumprod, of_velocity
        self._weighed_by = alphas_cumprod if weighed_by is None else weighed_by

    def corrupt(self, latents: Tensor, at: float | None = None) -> Corrupted:
        drawn = self._noise(latents)
        total = len(self._alphas_cumprod)
        s = self._settings
        most = min(s.max_timestep, total)
        least = min(s.min_timestep, most)
        timesteps = uniform_timesteps(len(latents), least, most, latents.device)
        if at is not None:
            timesteps = torch.full_like(timesteps, least + int(at * (most - least)))
        timesteps = timesteps.clamp(max=total - 1)
        put_on = noise.perturbed(drawn, s.ip_noise_gamma, s.ip_noise_gamma_random_strength)
        noisy = noise.add_noise(latents, put_on, timesteps, self._alphas_cumprod)
        target = noise.velocity(latents, drawn, timesteps, self._alphas_cumprod) if self._of_velocity else drawn
        return Corrupted(noisy, target, timesteps)

    def loss(self, prediction: Tensor, corrupted: Corrupted, mask: Tensor | None = None) -> Tensor:
        timesteps = corrupted.timesteps
        elements = loss.of_type(
            self._settings.loss_type, prediction.float(), corrupted.target.float(), lambda: self._threshold(timesteps)
        )
        return loss.mean_by_sample(elements, mask) * self._weight(timesteps)

    def _noise(self, latents: Tensor) -> Tensor:
        drawn = torch.randn_like(latents)
        s = self._settings
        if s.noise_offset and s.noise_offset_type != "Multires":
            strength: float | Tensor = s.noise_offset
            if s.noise_offset_random_strength:
                strength = strength * torch.rand(()).to(latents.device)
            if s.adaptive_noise_scale:
                strength = noise.adaptive_strength(strength, s.adaptive_noise_scale, latents)
            drawn = noise.offset_noise(drawn, strength)
        if s.multires_noise_iterations and s.noise_offset_type != "Original":
            drawn = noise.multires_noise(drawn, s.multires_noise_iterations, s.multires_noise_discount)
        return drawn

    def _threshold(self, timesteps: Tensor) -> Tensor:
        s = self._settings
        if s.huber_schedule == "constant":
            return loss.constant_threshold(timesteps, s.huber_c, s.huber_scale)
        if s.huber_schedule == "exponential":
            return loss.exponential_threshold(timesteps, len(self._alphas_cumprod), s.huber_c, s.huber_scale)
        return loss.snr_threshold(weights.signal_to_noise(timesteps, self._alphas_cumprod), s.huber_c)

    def _weight(self, timesteps: Tensor) -> Tensor:
        snr = weights.signal_to_noise(timesteps, self._weighed_by)
        weight = torch.ones_like(snr)
        s = self._settings
        if s.min_snr_gamma:
            weight = weight * weights.min_snr_weight(snr, s.min_snr_gamma, self._of_velocity)
        if s.scale_v_pred_loss_like_noise_pred and self._of_velocity:
            weight = weight * weights.noise_like_weight(snr)
        if s.v_pred_like_loss and not self._of_velocity:
            weight = weight * weights.velocity_like_weight(snr, s.v_pred_like_loss)
        if s.debiased_estimation_loss:
            weight = weight * weights.debiased_weight(snr, self._of_velocity)
        return weight
