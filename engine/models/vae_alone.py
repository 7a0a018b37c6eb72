"""A model's VAE without the rest, for encoding pictures only."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn

from engine.models import checkpoint, makers, vae_files
from engine.models.parts import Parts
from engine.settings.families import FamilyName
from engine.settings.training import TrainingSettings

CONFIGS: dict[FamilyName, str] = {
    "sd1": "sd1", "sd2": "sd2", "sdxl": "sdxl", "sdxl-refiner": "sdxl", "sd3": "sd3",
    "flux": "flux", "chroma": "flux", "lumina": "flux",
}  # fmt: skip
"""The configuration that the VAE of a family's single files uses."""


def vae_alone(settings: TrainingSettings, family: FamilyName, dtype: torch.dtype) -> Parts:
    """The VAE that a run with these settings would encode with, bit for bit; the denoiser is empty.

    Raises Failure.
    """
    source = settings.source_model
    name, option = (source.vae, "vae") if source.vae else (source.pretrained_model_name_or_path, makers.MODEL_FIELD)
    no_half = settings.families.said() == "sdxl" and settings.sdxl.sdxl_no_half_vae
    make = makers.maker(AutoencoderKL, makers.CONFIGS / CONFIGS[family] / "vae")
    vae = vae_files.load_vae(name, torch.float32 if no_half else dtype, make, option)
    return checkpoint.frozen(Parts(denoiser=nn.Identity(), vae=vae.eval(), text_encoders=[], tokenizers=[]))
