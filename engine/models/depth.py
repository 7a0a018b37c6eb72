"""The depth estimator of Stable Diffusion 2's depth model: MiDaS's DPT-Hybrid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor
from transformers import DPTConfig, DPTForDepthEstimation

from engine.models import makers
from engine.models.single_file import Weights
from engine.models.skeleton import is_without_weights

ESTIMATOR = "Intel/dpt-hybrid-midas"
"""On the hub."""

FOLDER = "depth_estimator"

PREFIX = "depth_model."
"""The prefix of its tensors in the model's single file, which have MiDaS's own names."""


def depth_beside(file: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The estimator for a single file, from a folder next to it or from the hub, as a component of the model.

    Raises Failure.
    """

    def load(source: Any, **told: Any) -> Any:
        if is_without_weights():
            with init_empty_weights():
                return DPTForDepthEstimation(DPTConfig.from_pretrained(source, **told)).to(dtype).eval()
        return DPTForDepthEstimation.from_pretrained(source, dtype=dtype, **told).eval()

    needed = "config.json and model.safetensors"
    found = makers.piece_beside(file, load, "depth estimator", FOLDER, ESTIMATOR, needed)
    return {FOLDER: found}


def depth_of(file: Path) -> dict[str, Tensor]:
    """Its tensors as in a model's single file, unchanged."""
    weights = Weights(file, makers.MODEL_FIELD)
    return {name: weights[name] for name in weights if name.startswith(PREFIX)}
