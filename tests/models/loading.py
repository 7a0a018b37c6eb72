"""The built-in model, or another one, loaded as a run loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from engine.demo.demo import MODEL_FOLDER
from engine.models.conditioning import Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.families import family_of
from engine.models.family import Family
from engine.models.parts import Parts
from engine.models.vae import to_pixels
from engine.settings.training import TrainingSettings

NO_SIZES = torch.zeros(1, 6)
"""For families that are not told the sizes of pictures."""


def loaded(name: Path | str = MODEL_FOLDER, dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[Family, Parts]:
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(name), **changes})
    family = family_of(settings)
    return family, family.load(settings, dtype)


def states(sequence: torch.Tensor) -> Conditioning:
    """A sequence of hidden states as what Stable Diffusion 1 is told."""
    return {"states": sequence}


def drawn_by(family: Family, parts: Parts, sample: Drawing, scheduler: Any) -> Image.Image:
    """The picture, as a run draws it."""
    told = family.encode_text(parts, [sample.prompt.text, sample.prompt.negative], Reading(negatives=1))
    latents = family.draw(parts, sample, told | sample.extra_channels(parts), scheduler)
    return VaeImageProcessor().postprocess(to_pixels(parts.vae, latents))[0]
