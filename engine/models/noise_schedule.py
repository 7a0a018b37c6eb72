"""The noise schedule of a model, from its files and the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler

from engine.failure import Failure
from engine.models.makers import MODEL_FIELD
from engine.models.parts import Prediction
from engine.models.single_file import Weights
from engine.models.told import NO_TRACE, predicted
from engine.objective.noise import without_a_trace_of_signal
from engine.settings.training import TrainingSettings


def scheduler_config(configs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((configs / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return found


def scheduler_told(configs: Path, weights: Weights) -> dict[str, Any]:
    """A family's usual schedule, with what the model's file says about itself."""
    scheduler = scheduler_config(configs)
    if said := predicted(weights.metadata, weights):
        scheduler["prediction_type"] = said
    if NO_TRACE in weights:
        scheduler["rescale_betas_zero_snr"] = True
    return scheduler


def prediction_of(scheduler: dict[str, Any], settings: TrainingSettings) -> Prediction:
    """What the model predicts: velocity if its files or the settings say so."""
    said = scheduler.get("prediction_type", "epsilon")
    if said not in ("epsilon", "v_prediction"):
        raise Failure(
            f"This model's prediction type is {said!r}, which this version cannot train.",
            "Choose another.",
            MODEL_FIELD,
        )
    return "v_prediction" if settings.families.v_parameterization else said


def noise_schedule(scheduler: dict[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """The noise facts for Parts: the schedule of the model's files overlaid with the settings, what the model predicts,
    and ᾱ by timesteps, with and without zero terminal SNR.
    """
    prediction = prediction_of(scheduler, settings)
    without = bool(scheduler.get("rescale_betas_zero_snr") or settings.objective.zero_terminal_snr)
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    plain = DDPMScheduler(**{name: scheduler[name] for name in names if name in scheduler}).alphas_cumprod.float()
    return {
        "prediction": prediction,
        "alphas_cumprod": without_a_trace_of_signal(plain) if without else plain,
        "alphas_with_signal": plain,
        "scheduler": scheduler
        | {"prediction_type": prediction}
        | ({"rescale_betas_zero_snr": True} if without else {}),
    }
