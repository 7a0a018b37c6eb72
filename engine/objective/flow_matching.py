"""The objective of flow models: how a batch is noised, and what the prediction costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.objective import flow, loss, noise
from engine.objective.objective import Corrupted
from engine.settings.objective import Objective

Sampling = Literal["sigma", "density", "uniform", "sigmoid", "shift", "flux_shift", "nextdit_shift"]
Weighting = Literal["logit_normal", "sigma_sqrt", "mode", "cosmap", "uniform"]


@dataclass(frozen=True)
class FlowRecipe:
    """How noisy the training pictures are, and how the prediction is interpreted.

    sampling: "sigma": as `weighting` says, counted from the noisy end, then shifted by `shift`. "density": as
    `weighting` says, counted from the picture, in whole timesteps. "uniform": evenly. "sigmoid": the middle more
    often. "shift": like "sigmoid", shifted by `shift`. "flux_shift": likewise, by FLUX.1's shift for the
    picture's size. "nextdit_shift": evenly, shifted by the same.
    weighting: for "sigma" and "density": "logit_normal" and "mode" set the distribution, "sigma_sqrt" and "cosmap"
    the weight.
    reading: "raw": the prediction is the velocity. "sigma_scaled": it is converted to the picture x₀ and compared
    with that, weighted by `weighting`. "additive": the noisy picture is added to it.
    """

    sampling: Sampling = "sigma"
    shift: float = 1.0
    sigmoid_scale: float = 1.0
    weighting: Weighting = "uniform"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = 1.29
    reading: Literal["raw", "additive", "sigma_scaled"] = "raw"


class FlowMatching:
    def __init__(self, settings: Objective, recipe: FlowRecipe) -> None:
        self._settings, self.recipe = settings, recipe

    def corrupt(self, latents: Tensor, at: float | None = None) -> Corrupted:
        s, recipe = self._settings, self.recipe
        drawn = torch.randn_like(latents)
        chosen = self._sigmas(latents) if at is None else torch.full((len(latents),), at)
        sigmas = self._between(chosen).to(latents.device)
        put_on = noise.perturbed(drawn, s.ip_noise_gamma, s.ip_noise_gamma_random_strength)
        noisy = flow.add_noise(latents, put_on, sigmas)
        target = latents if recipe.reading == "sigma_scaled" else flow.velocity(latents, drawn)
        return Corrupted(noisy, target, sigmas * flow.TIMESTEPS)

    def loss(self, prediction: Tensor, corrupted: Corrupted, mask: Tensor | None = None) -> Tensor:
        sigmas = corrupted.timesteps.float() / flow.TIMESTEPS
        read = self._read(prediction.float(), corrupted.noisy.float(), sigmas)
        elements = loss.of_type(
            self._settings.loss_type, read, corrupted.target.float(), lambda: self._threshold(sigmas)
        )
        return loss.mean_by_sample(elements, mask) * self._weight(sigmas)

    def _sigmas(self, latents: Tensor) -> Tensor:
        """(B,) on the CPU, so that they are the same on every machine."""
        recipe, count = self.recipe, len(latents)
        if recipe.sampling == "uniform":
            return torch.rand(count)
        if recipe.sampling == "nextdit_shift":
            return flow.shifted(torch.rand(count), flow.shift_of_size(*latents.shape[2:]))
        if recipe.sampling == "density":
            return self._density(count)
        if recipe.sampling == "sigma":
            return flow.shifted(flow.discrete(self._density(count)), recipe.shift)
        sigmas = flow.logistic_sigmas(count, recipe.sigmoid_scale)
        if recipe.sampling == "shift":
            return flow.shifted(sigmas, recipe.shift)
        if recipe.sampling == "flux_shift":
            return flow.shifted(sigmas, flow.shift_of_size(*latents.shape[2:]))
        return sigmas

    def _density(self, count: int) -> Tensor:
        recipe = self.recipe
        if recipe.weighting == "logit_normal":
            return flow.logistic_sigmas(count, recipe.logit_std, recipe.logit_mean)
        if recipe.weighting == "mode":
            return flow.mode_sigmas(count, recipe.mode_scale)
        return torch.rand(count)

    def _between(self, sigmas: Tensor) -> Tensor:
        """Mapped from [0, 1] to the range of Min and Max Timestep."""
        least, most = self._settings.min_timestep, self._settings.max_timestep
        between = (least + sigmas * (most - least)) / flow.TIMESTEPS
        return flow.whole_timesteps(between) if self.recipe.sampling == "density" else between

    def _read(self, prediction: Tensor, noisy: Tensor, sigmas: Tensor) -> Tensor:
        if self.recipe.reading == "additive":
            return prediction + noisy
        if self.recipe.reading == "sigma_scaled":
            return noisy - sigmas.view(-1, 1, 1, 1) * prediction
        return prediction

    def _weight(self, sigmas: Tensor) -> Tensor:
        if self.recipe.reading == "sigma_scaled":
            if self.recipe.weighting == "sigma_sqrt":
                return flow.inverse_square_weight(sigmas)
            if self.recipe.weighting == "cosmap":
                return flow.cosine_map_weight(sigmas)
        return torch.ones_like(sigmas)

    def _threshold(self, sigmas: Tensor) -> Tensor:
        s = self._settings
        if s.huber_schedule == "constant":
            return loss.constant_threshold(sigmas, s.huber_c, s.huber_scale)
        if s.huber_schedule == "exponential":
            return loss.exponential_threshold(sigmas * flow.TIMESTEPS, flow.TIMESTEPS, s.huber_c, s.huber_scale)
        return loss.snr_threshold(flow.signal_to_noise(sigmas), s.huber_c)
