"""kohya's sampler names as diffusers' schedulers."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import Tensor

from engine.models.parts import Parts

_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "lms": ("LMSDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmsolver": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmsingle": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++"}),
}


LEAST_SIGNAL = 2.0**-24
"""Samplers divide by the signal level, which may be 0 at a schedule's end."""


def sampler_of(parts: Parts, name: str) -> Any:
    """The scheduler for a name, on the model's own noise schedule; None for a flow, which has its own sampler."""
    # A model that predicts noise cannot say anything about pure noise.
    of_velocity = parts.prediction == "v_prediction"
    alphas = parts.alphas_cumprod if of_velocity else parts.alphas_with_signal
    return None if alphas is None else make_sampler(name, alphas, parts.prediction)


def make_sampler(name: str, alphas_cumprod: Tensor, prediction: str = "epsilon") -> Any:
    """The scheduler for a name, on the noise schedule that the model is trained with.

    prediction: what the model predicts, "epsilon" or "v_prediction".
    k_euler and the other k_ names mean the same samplers without k_.
    """
    class_name, arguments = _SAMPLERS[name.removeprefix("k_")]
    alphas = alphas_cumprod.double().clamp(min=LEAST_SIGNAL)
    betas = 1 - alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])  # ᾱ_t = Π (1 − β)
    return getattr(diffusers, class_name)(
        num_train_timesteps=len(alphas), trained_betas=betas.float().tolist(), prediction_type=prediction, **arguments
    )
