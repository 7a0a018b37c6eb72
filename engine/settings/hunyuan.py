"""What only HunyuanImage-2.1 models ask for."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option
from engine.settings.waiting import HUNYUAN

SECTION = "Parameters/Basic/HunyuanImage-2.1"


class Hunyuan(Group):
    hunyuan_text_encoder: str = option(
        "",
        widget="path",
        label="Qwen2.5-VL Path",
        section=SECTION,
        help="File of the Qwen2.5-VL text encoder.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_byt5: str = option(
        "",
        widget="path",
        label="byT5 Path",
        section=SECTION,
        help="File of the byT5 text encoder, which reads text that should appear in the picture.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_vae: str = option(
        "",
        widget="path",
        label="VAE Path",
        section=SECTION,
        help="File of the VAE.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_image_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache Text Encoder Outputs",
        section=SECTION,
        help="Encode every caption once before training, which frees the GPU memory used by the text encoder.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_image_cache_text_encoder_outputs_to_disk: bool = option(
        False,
        label="Cache Text Encoder Outputs to Disk",
        section=SECTION,
        help="Save the encoded captions to files next to the pictures.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_timestep_sampling: Literal["sigma", "uniform", "sigmoid", "shift", "flux_shift"] = option(
        "sigma",
        label="Timestep Sampling",
        section=SECTION,
        help="How timesteps are drawn. shift and sigmoid favor the middle ones.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_discrete_flow_shift: float = option(
        5.0,
        ge=-1024,
        le=1024,
        label="Discrete Flow Shift",
        section=SECTION,
        help="For shift: how far timesteps are shifted towards more noise; 1 means no shift.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_sigmoid_scale: float = option(
        1.0,
        ge=0.0,
        le=1024,
        label="Sigmoid Scale",
        section=SECTION,
        help="For sigmoid and shift: how strongly the middle timesteps are favored.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_model_prediction_type: Literal["raw", "additive", "sigma_scaled"] = option(
        "raw",
        label="Model Prediction Type",
        section=SECTION,
        help="How the model's output is interpreted when computing the loss; raw is usual.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_attn_mode: Literal["torch", "xformers", "flash", "sageattn"] = option(
        "torch",
        label="Attention Mode",
        section=SECTION,
        help="How attention is computed. All choices give the same result, at different speeds.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_split_attn: bool = option(
        False,
        label="Split Attention",
        section=SECTION,
        help="Compute attention one picture at a time, which uses less memory.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_fp8_scaled: bool = option(
        False,
        label="FP8 Scaled",
        section=SECTION,
        help="Keep the model in 8 bits, with a scale for each layer.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_fp8_vl: bool = option(
        False,
        label="FP8 VLM",
        section=SECTION,
        help="Keep the Qwen2.5-VL text encoder in 8 bits.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_text_encoder_cpu: bool = option(
        False,
        label="Text Encoder on CPU",
        section=SECTION,
        help="Encode captions on the CPU: uses no GPU memory, but is much slower.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
    hunyuan_vae_chunk_size: int = option(
        0,
        ge=0,
        le=1024,
        label="VAE Chunk Size",
        section=SECTION,
        help="Run the VAE in chunks of this size to save memory; 0 runs it all at once.",
        applies_when={"hunyuan_image_checkbox": (True,)},
        standing=HUNYUAN,
        methods=("lora",),
    )
