"""The part of Stable Diffusion 2's depth model that sees how near everything is: MiDaS's DPT-Hybrid."""

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
"""What stands before its tensors in the model's single file, under MiDaS's own names."""


def depth_beside(file: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The estimator for a single file, from a folder beside it or from the hub, as pieces of the model.

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
    """Its tensors as a model's single file has them, untouched."""
    weights = Weights(file, makers.MODEL_FIELD)
    return {name: weights[name] for name in weights if name.startswith(PREFIX)}
