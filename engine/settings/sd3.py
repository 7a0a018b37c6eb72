"""What only Stable Diffusion 3 models ask for, and the text encoders that they share with FLUX.1."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, maps, option
from engine.settings.waiting import CAPTIONS_ONCE, MMAP, MORE_SD3

SECTION = "Parameters/Basic/SD3"
ENCODERS = "Parameters/Basic/Text encoders"


class Sd3(Group):
    clip_l: str = option(
        "",
        widget="path",
        label="CLIP-L Path",
        section=ENCODERS,
        help="The CLIP-L text encoder's file; empty where the model's own file or folder holds it.",
        applies_when={"flux1_checkbox": (True,)},
        also_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    clip_g: str = option(
        "",
        widget="path",
        label="CLIP-G Path",
        section=ENCODERS,
        help="The CLIP-G text encoder's file; empty where the model's file holds it.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    t5xxl: str = option(
        "",
        widget="path",
        label="T5-XXL Path",
        section=ENCODERS,
        help="The T5-XXL text encoder's file; empty where the model's own file or folder holds it.",
        applies_when={"flux1_checkbox": (True,)},
        also_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_clip_l: str = option(
        "",
        widget="path",
        label="CLIP-L Path",
        section=SECTION,
        help="CLIP-L's file once more, as kohya_ss's LoRA tab saves it.",
        applies_when={"sd3_checkbox": (True,)},
        standing=maps("CLIP-L Path, in whose place it is used where that is empty"),
        methods=("lora",),
    )
    sd3_t5xxl: str = option(
        "",
        widget="path",
        label="T5-XXL Path",
        section=SECTION,
        help="T5-XXL's file once more, as kohya_ss's LoRA tab saves it.",
        applies_when={"sd3_checkbox": (True,)},
        standing=maps("T5-XXL Path, in whose place it is used where that is empty"),
        methods=("lora",),
    )
    t5xxl_device: str = option(
        "",
        label="T5-XXL Device",
        section=SECTION,
        help="Where T5-XXL computes, such as cuda or cpu; empty for where the rest does.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("dreambooth", "lora", "finetune"),
    )
    t5xxl_dtype: Literal["float32", "fp16", "bf16"] = option(
        "bf16",
        label="T5-XXL Dtype",
        section=SECTION,
        help="Number format of T5-XXL.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_text_encoder_batch_size: int = option(
        1,
        ge=1,
        le=1024,
        label="Text Encoder Batch Size",
        section=SECTION,
        help="Captions encoded at a time.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache Text Encoder Outputs",
        section=SECTION,
        help="Encode every caption once before training, so that the text encoders leave the GPU.",
        applies_when={"sd3_checkbox": (True,)},
        standing=CAPTIONS_ONCE,
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_cache_text_encoder_outputs_to_disk: bool = option(
        False,
        label="Cache Text Encoder Outputs to Disk",
        section=SECTION,
        help="Keep the encoded captions in files beside the pictures instead of in memory, so that the next run does "
        "without the text encoders. The files are those of sd-scripts.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    weighting_scheme: Literal["logit_normal", "sigma_sqrt", "mode", "cosmap", "uniform"] = option(
        "logit_normal",
        label="Weighting Scheme",
        section=SECTION,
        help="How often, or how much, each amount of noise is trained on; the paper found logit_normal best.",
        source="Esser et al. 2024, arXiv:2403.03206",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    logit_mean: float = option(
        0.0,
        label="Logit Mean",
        section=SECTION,
        help="For logit_normal: above 0 favours more noise, below 0 less.",
        applies_when={"sd3_checkbox": (True,), "weighting_scheme": ("logit_normal",)},
        methods=("dreambooth", "lora", "finetune"),
    )
    logit_std: float = option(
        1.0,
        ge=0,
        label="Logit Std",
        section=SECTION,
        help="For logit_normal: how widely the noise is spread around the favoured amount.",
        applies_when={"sd3_checkbox": (True,), "weighting_scheme": ("logit_normal",)},
        methods=("dreambooth", "lora", "finetune"),
    )
    mode_scale: float = option(
        1.29,
        label="Mode Scale",
        section=SECTION,
        help="For mode: above 0 favours the middle.",
        applies_when={"sd3_checkbox": (True,), "weighting_scheme": ("mode",)},
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_clip_l_dropout_rate: float = option(
        0.0,
        ge=0.0,
        le=1,
        label="CLIP-L Dropout Rate",
        section=SECTION,
        help="Share of the pictures for which CLIP-L sees no caption, from 0 to 1.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    clip_g_dropout_rate: float = option(
        0.0,
        ge=0.0,
        le=1,
        label="CLIP-G Dropout Rate",
        section=SECTION,
        help="Share of the pictures for which CLIP-G sees no caption, from 0 to 1.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    sd3_t5_dropout_rate: float = option(
        0.0,
        ge=0.0,
        le=1,
        label="T5 Dropout Rate",
        section=SECTION,
        help="Share of the pictures for which T5-XXL sees no caption, from 0 to 1.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    sd3_enable_scaled_pos_embed: bool = option(
        False,
        label="Enable Scaled Positional Embeddings",
        section=SECTION,
        help="Scale the positions within the picture to its size, for training at several sizes.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    pos_emb_random_crop_rate: float = option(
        0.0,
        ge=0.0,
        le=1,
        label="Positional Embedding Random Crop Rate",
        section=SECTION,
        help="Share of the pictures whose positions are cut from a random place, from 0 to 1.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    sd3_fused_backward_pass: bool = option(
        False,
        label="Fused Backward Pass",
        section=SECTION,
        help="Update each weight as soon as its gradient is known, so that not all gradients are in memory at once.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    sd3_disable_mmap_load_safetensors: bool = option(
        False,
        label="Disable mmap load safe tensors",
        section=SECTION,
        help="Read model files in one go instead of page by page, which is faster on network drives and in WSL.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MMAP,
        methods=("lora",),
    )
    save_clip: bool = option(
        False,
        label="Save CLIP models",
        section=SECTION,
        help="Save CLIP-L and CLIP-G in files beside the whole model's, NAME_clip_l and NAME_clip_g. A diffusers "
        "folder holds them anyway.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    save_t5xxl: bool = option(
        False,
        label="Save T5-XXL model",
        section=SECTION,
        help="Save T5-XXL in a file beside the whole model's, NAME_t5xxl. A diffusers folder holds it anyway.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
    )
