"""A model's VAE without the rest of it, for whoever encodes pictures and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from engine.failure import Failure
from engine.models import checkpoint, encoders
from engine.models.family import Parts
from engine.models.recognise import MOVED
from engine.models.single_file import Weights, first_line
from engine.settings.families import FamilyName
from engine.settings.training import TrainingSettings

CONFIGS: dict[FamilyName, str] = {
    "sd1": "sd1", "sd2": "sd2", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux", "chroma": "flux", "lumina": "flux",
}  # fmt: skip
"""Whose configuration the VAE of a family's single files has."""


def vae_alone(settings: TrainingSettings, family: FamilyName, dtype: torch.dtype) -> Parts:
    """The VAE that a run with these settings would encode with, bit for bit; the denoiser does nothing.

    Raises Failure.
    """
    source = settings.source_model
    name, option = (source.vae, "vae") if source.vae else (source.pretrained_model_name_or_path, checkpoint.MODEL_FIELD)
    no_half = family == "sdxl" and settings.sdxl.sdxl_no_half_vae
    try:
        vae = _load(name, option, family, torch.float32 if no_half else dtype)
    except Failure:
        raise
    except Exception as error:  # diffusers' and the hub's kinds
        raise Failure(f"The VAE of {name!r} cannot be loaded: {first_line(error)}.", option=option) from error
    return checkpoint.frozen(Parts(denoiser=nn.Identity(), vae=vae.eval(), text_encoders=[], tokenizers=[]))


def _load(name: str, option: str, family: FamilyName, dtype: torch.dtype) -> Any:
    path = Path(name).expanduser()
    if path.is_file():
        weights = Weights(path, option)
        prefix = next((prefix for prefix in encoders.VAE if weights.has(prefix)), "")
        make = checkpoint.maker(AutoencoderKL, checkpoint.CONFIGS / CONFIGS[family] / "vae")
        return checkpoint.vae_from_file(weights, make, dtype, prefix)
    if path.is_dir():
        inner = path / "vae" if (path / "vae").is_dir() else path
        return AutoencoderKL.from_pretrained(inner, torch_dtype=dtype, local_files_only=True)
    within = {"subfolder": "vae"} if option == checkpoint.MODEL_FIELD else {}
    return checkpoint.local_first(
        lambda local: AutoencoderKL.from_pretrained(
            MOVED.get(name, name), torch_dtype=dtype, local_files_only=local, **within
        )
    )
