"""Which family of models the base model belongs to, as kohya_ss asks for it."""

from __future__ import annotations

from typing import Literal

from engine.settings.kin import EVERY_METHOD
from engine.settings.option import Group, maps, option
from engine.settings.waiting import ANIMA, HUNYUAN

SECTION = "Source Model"

FamilyName = Literal[
    "sd1", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux", "chroma", "lumina", "hunyuan", "anima", "qwen"
]

TITLES: dict[FamilyName, str] = {
    "sd1": "Stable Diffusion 1",
    "sd2": "Stable Diffusion 2",
    "sdxl": "SDXL",
    "sdxl-refiner": "SDXL refiner",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX.1",
    "chroma": "Chroma",
    "lumina": "Lumina Image 2.0",
    "hunyuan": "HunyuanImage-2.1",
    "anima": "Anima",
    "qwen": "Qwen-Image",
}

TRANSFORMERS: tuple[FamilyName, ...] = ("sd3", "flux", "chroma", "lumina")
"""Families whose denoiser is a transformer: a row of like blocks, which can wait in main memory, that is shown latents
in patches, so that a picture's sides are multiples of 16 pixels. Text encoders and VAE often lie in files of their own.
"""

KNOWN: dict[str, FamilyName] = {
    "runwayml/stable-diffusion-v1-5": "sd1",
    "CompVis/stable-diffusion-v1-4": "sd1",
    "stable-diffusion-v1-5/stable-diffusion-inpainting": "sd1",
    "stabilityai/stable-diffusion-2-1-base": "sd2",
    "stabilityai/stable-diffusion-2-1": "sd2",
    "stabilityai/stable-diffusion-2-base": "sd2",
    "stabilityai/stable-diffusion-2": "sd2",
    "stabilityai/stable-diffusion-2-inpainting": "sd2",
    "stabilityai/stable-diffusion-2-depth": "sd2",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "stabilityai/stable-diffusion-xl-refiner-1.0": "sdxl-refiner",
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": "sdxl",
    "stabilityai/stable-diffusion-3-medium-diffusers": "sd3",
    "stabilityai/stable-diffusion-3.5-medium": "sd3",
    "stabilityai/stable-diffusion-3.5-large": "sd3",
    "black-forest-labs/FLUX.1-dev": "flux",
    "black-forest-labs/FLUX.1-schnell": "flux",
    "lodestones/Chroma1-HD": "chroma",
    "Alpha-VLLM/Lumina-Image-2.0": "lumina",
}
"""Names on the Hugging Face hub that are offered to choose from."""

SWITCHES: dict[str, FamilyName] = {
    "v2": "sd2",
    "sdxl": "sdxl",
    "sdxl_checkbox": "sdxl",
    "flux1_checkbox": "flux",
    "sd3_checkbox": "sd3",
    "lumina_checkbox": "lumina",
    "hunyuan_image_checkbox": "hunyuan",
    "anima_checkbox": "anima",
}
"""The options that say which family the model is of; without any of them it is Stable Diffusion 1. Chroma has FLUX.1's,
and Base Model Type beside it."""


KEPT_CAPTIONS: dict[FamilyName, str] = {
    "sd3": "sd3_cache_text_encoder_outputs_to_disk",
    "flux": "flux1_cache_text_encoder_outputs_to_disk",
    "chroma": "flux1_cache_text_encoder_outputs_to_disk",
    "lumina": "lumina_cache_text_encoder_outputs_to_disk",
}
"""The option by which each family keeps encoded captions in files."""


class Families(Group):
    v2: bool = option(
        False,
        label="v2",
        section=SECTION,
        help="The model is a Stable Diffusion 2 model.",
        also=("SD 2", "Stable Diffusion 2.x"),
    )
    v_parameterization: bool = option(
        False,
        label="v_param",
        section=SECTION,
        help="The model uses v-prediction: it predicts velocity instead of noise, like the 768-pixel Stable Diffusion "
        "2 models and some later ones.",
        source="Salimans & Ho 2022, arXiv:2202.00512",
        also=("v_parameterization", "v-prediction"),
    )
    sdxl: bool = option(
        False,
        label="SDXL",
        section=SECTION,
        help="The model is an SDXL model.",
        also=("SDXL model", "SDXL Model"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    sdxl_checkbox: bool = option(
        False,
        label="SDXL",
        section=SECTION,
        help="The same as SDXL, under the key kohya_ss's Finetuning tab uses.",
        standing=maps("SDXL, which the other tabs save"),
        also=("SDXL model",),
        methods=("finetune",),
    )
    flux1_checkbox: bool = option(
        False,
        label="Flux.1",
        section=SECTION,
        help="The model is a FLUX.1 model, or Chroma, which has the same architecture.",
        also=("FLUX", "Flux", "Chroma"),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    sd3_checkbox: bool = option(
        False,
        label="SD3",
        section=SECTION,
        help="The model is a Stable Diffusion 3 or 3.5 model.",
        also=("SD 3.5", "Stable Diffusion 3"),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    lumina_checkbox: bool = option(
        False,
        label="Lumina",
        section=SECTION,
        help="The model is a Lumina Image 2.0 model.",
        also=("Lumina2", "Neta Lumina"),
        methods=("lora", "finetune"),
    )
    hunyuan_image_checkbox: bool = option(
        False,
        label="HunyuanImage-2.1",
        section=SECTION,
        help="The model is a HunyuanImage-2.1 model.",
        standing=HUNYUAN,
        methods=("lora",),
    )
    anima_checkbox: bool = option(
        False,
        label="Anima",
        section=SECTION,
        help="The model is an Anima model.",
        standing=ANIMA,
        methods=("lora", "finetune"),
    )

    def said(self) -> FamilyName:
        """The family that the switches name; TrainingSettings.family() knows what stands beside them too."""
        return next((family for switch, family in SWITCHES.items() if getattr(self, switch)), "sd1")
