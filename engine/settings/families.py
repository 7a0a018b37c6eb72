"""Which family of models the base model belongs to, as kohya_ss asks for it."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import FAMILY, INPAINTING, V_PREDICTION

SECTION = "Source Model"


class Families(Group):
    v2: bool = option(
        False,
        label="v2",
        section=SECTION,
        help="The model is a Stable Diffusion 2.",
        standing=FAMILY,
        also=("SD 2", "Stable Diffusion 2.x"),
    )
    v_parameterization: bool = option(
        False,
        label="v_param",
        section=SECTION,
        help="The model predicts velocity instead of noise, as the 768-pixel Stable Diffusion 2 models and some later "
        "ones do.",
        source="Salimans & Ho 2022, arXiv:2202.00512",
        standing=V_PREDICTION,
        also=("v_parameterization", "v-prediction"),
    )
    sdxl: bool = option(
        False,
        label="SDXL",
        section=SECTION,
        help="The model is an SDXL.",
        standing=FAMILY,
        also=("SDXL model", "SDXL Model"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    sdxl_checkbox: bool = option(
        False,
        label="SDXL",
        section=SECTION,
        help="The same as SDXL, as the fine-tuning tab of kohya_ss saves it.",
        standing=FAMILY,
        also=("SDXL model",),
        methods=("finetune",),
    )
    flux1_checkbox: bool = option(
        False,
        label="Flux.1",
        section=SECTION,
        help="The model is a FLUX.1.",
        standing=FAMILY,
        also=("FLUX", "Flux"),
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_checkbox: bool = option(
        False,
        label="SD3",
        section=SECTION,
        help="The model is a Stable Diffusion 3 or 3.5.",
        standing=FAMILY,
        also=("SD 3.5", "Stable Diffusion 3"),
        methods=("dreambooth", "lora", "finetune"),
    )
    lumina_checkbox: bool = option(
        False,
        label="Lumina",
        section=SECTION,
        help="The model is a Lumina Image 2.0.",
        standing=FAMILY,
        methods=("lora", "finetune"),
    )
    hunyuan_image_checkbox: bool = option(
        False,
        label="HunyuanImage-2.1",
        section=SECTION,
        help="The model is a HunyuanImage-2.1.",
        standing=FAMILY,
        methods=("lora",),
    )
    anima_checkbox: bool = option(
        False,
        label="Anima",
        section=SECTION,
        help="The model is an Anima.",
        standing=FAMILY,
        methods=("lora", "finetune"),
    )
    train_inpainting: bool = option(
        False,
        label="Train inpainting model",
        section="Parameters/Basic",
        help="The model fills in masked parts of a picture; training then shows it pictures with parts masked out.",
        standing=INPAINTING,
        methods=("dreambooth", "lora", "finetune"),
    )
