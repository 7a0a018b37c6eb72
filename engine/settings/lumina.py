"""What only Lumina Image 2.0 models ask for."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, idle, option
from engine.settings.waiting import ATTENTION, CAPTIONS_ONCE

SECTION = "Parameters/Basic/Lumina Image 2.0"


class Lumina(Group):
    lumina_gemma2: str = option(
        "",
        widget="path",
        label="Gemma2 Path",
        section=SECTION,
        help="File of the Gemma 2 text encoder.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_ae: str = option(
        "",
        widget="path",
        label="AE Path",
        section=SECTION,
        help="File of the VAE.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_system_prompt: str = option(
        "",
        label="System Prompt",
        section=SECTION,
        help="A sentence added before every caption that tells Gemma 2 its task. Leave empty for none.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_gemma2_max_token_length: int = option(
        256,
        ge=1,
        le=4096,
        label="Gemma2 Max Token Length",
        section=SECTION,
        help="How many tokens of a caption are used, including the System Prompt; the model has room for 299.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache Text Encoder Outputs",
        section=SECTION,
        help="Encode every caption once before training, which frees the GPU memory used by the text encoder.",
        applies_when={"lumina_checkbox": (True,)},
        standing=CAPTIONS_ONCE,
        methods=("lora", "finetune"),
    )
    lumina_cache_text_encoder_outputs_to_disk: bool = option(
        False,
        label="Cache Text Encoder Outputs to Disk",
        section=SECTION,
        help="Save the encoded captions to files next to the pictures.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_timestep_sampling: Literal["sigma", "uniform", "sigmoid", "shift", "nextdit_shift", "flux_shift"] = option(
        "shift",
        label="Timestep Sampling",
        section=SECTION,
        help="How timesteps are drawn. shift, flux_shift and sigmoid favor the middle ones; nextdit_shift and "
        "flux_shift favor more noise for larger pictures.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_discrete_flow_shift: float = option(
        6.0,
        ge=-1024,
        le=1024,
        label="Discrete Flow Shift",
        section=SECTION,
        help="For shift and sigma: how far timesteps are shifted towards more noise; 1 means no shift.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_sigmoid_scale: float = option(
        1.0,
        ge=0.0,
        le=1024,
        label="Sigmoid Scale",
        section=SECTION,
        help="For sigmoid, shift and flux_shift: below 1 favors the middle timesteps more, above 1 less.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_model_prediction_type: Literal["raw", "additive", "sigma_scaled"] = option(
        "raw",
        label="Model Prediction Type",
        section=SECTION,
        help="How the model's output is interpreted when computing the loss; raw is usual.",
        applies_when={"lumina_checkbox": (True,)},
        methods=("lora", "finetune"),
    )
    lumina_use_flash_attn: bool = option(
        False,
        label="Use Flash Attention",
        section=SECTION,
        help="Compute attention with the flash-attn library.",
        applies_when={"lumina_checkbox": (True,)},
        standing=ATTENTION,
        methods=("lora", "finetune"),
    )
    lumina_use_sage_attn: bool = option(
        False,
        label="Use Sage Attention",
        section=SECTION,
        help="Compute attention with the sageattention library.",
        applies_when={"lumina_checkbox": (True,)},
        standing=idle("SageAttention has no gradients, so nothing can be trained with it."),
        methods=("lora", "finetune"),
    )
