"""What only Stable Diffusion 3 models ask for, and the text encoders that they share with FLUX.1."""

from __future__ import annotations

from typing import Literal

from engine.settings.kin import EVERY_METHOD
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
        help="File of the CLIP-L text encoder. Leave empty if the model's file or folder contains it.",
        applies_when={"flux1_checkbox": (True,)},
        also_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    clip_g: str = option(
        "",
        widget="path",
        label="CLIP-G Path",
        section=ENCODERS,
        help="File of the CLIP-G text encoder. Leave empty if the model's file or folder contains it.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    t5xxl: str = option(
        "",
        widget="path",
        label="T5-XXL Path",
        section=ENCODERS,
        help="File of the T5-XXL text encoder. Leave empty if the model's file or folder contains it.",
        applies_when={"flux1_checkbox": (True,)},
        also_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    sd3_clip_l: str = option(
        "",
        widget="path",
        label="CLIP-L Path",
        section=SECTION,
        help="File of the CLIP-L text encoder, under the key kohya_ss's LoRA tab uses.",
        applies_when={"sd3_checkbox": (True,)},
        standing=maps("CLIP-L Path; this one is used when that is empty"),
        methods=("lora",),
    )
    sd3_t5xxl: str = option(
        "",
        widget="path",
        label="T5-XXL Path",
        section=SECTION,
        help="File of the T5-XXL text encoder, under the key kohya_ss's LoRA tab uses.",
        applies_when={"sd3_checkbox": (True,)},
        standing=maps("T5-XXL Path; this one is used when that is empty"),
        methods=("lora",),
    )
    t5xxl_device: str = option(
        "",
        label="T5-XXL Device",
        section=SECTION,
        help="Where T5-XXL runs, such as cuda or cpu; if empty, on the same device as the rest.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    t5xxl_dtype: Literal["float32", "fp16", "bf16"] = option(
        "bf16",
        label="T5-XXL Dtype",
        section=SECTION,
        help="Number format of T5-XXL.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    sd3_text_encoder_batch_size: int = option(
        1,
        ge=1,
        le=1024,
        label="Text Encoder Batch Size",
        section=SECTION,
        help="How many captions to encode at once.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    sd3_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache Text Encoder Outputs",
        section=SECTION,
        help="Encode every caption once before training, which frees the GPU memory used by the text encoders.",
        applies_when={"sd3_checkbox": (True,)},
        standing=CAPTIONS_ONCE,
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    sd3_cache_text_encoder_outputs_to_disk: bool = option(
        False,
        label="Cache Text Encoder Outputs to Disk",
        section=SECTION,
        help="Save the encoded captions to files next to the pictures instead of keeping them in memory, so the next "
        "run does not need the text encoders. The files are compatible with sd-scripts.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    weighting_scheme: Literal["logit_normal", "sigma_sqrt", "mode", "cosmap", "uniform"] = option(
        "logit_normal",
        label="Weighting Scheme",
        section=SECTION,
        help="How often each timestep is drawn, or how much it counts; the paper found logit_normal best.",
        source="Esser et al. 2024, arXiv:2403.03206",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    logit_mean: float = option(
        0.0,
        label="Logit Mean",
        section=SECTION,
        help="For logit_normal: above 0 favors more noise, below 0 less.",
        applies_when={"sd3_checkbox": (True,), "weighting_scheme": ("logit_normal",)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    logit_std: float = option(
        1.0,
        ge=0,
        label="Logit Std",
        section=SECTION,
        help="For logit_normal: how widely the timesteps spread around the favored one.",
        applies_when={"sd3_checkbox": (True,), "weighting_scheme": ("logit_normal",)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    mode_scale: float = option(
        1.29,
        label="Mode Scale",
        section=SECTION,
        help="For mode: above 0 favors the middle timesteps.",
        applies_when={"sd3_checkbox": (True,), "weighting_scheme": ("mode",)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    sd3_clip_l_dropout_rate: float = option(
        0.0,
        ge=0.0,
        le=1,
        label="CLIP-L Dropout Rate",
        section=SECTION,
        help="Share of pictures, from 0 to 1, for which CLIP-L gets no caption.",
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
        help="Share of pictures, from 0 to 1, for which CLIP-G gets no caption.",
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
        help="Share of pictures, from 0 to 1, for which T5-XXL gets no caption.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    sd3_enable_scaled_pos_embed: bool = option(
        False,
        label="Enable Scaled Positional Embeddings",
        section=SECTION,
        help="Scale the positional embeddings to the picture's size, for training at several resolutions.",
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
        help="Share of pictures, from 0 to 1, whose positional embeddings are cropped at a random place.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MORE_SD3,
        methods=("lora",),
    )
    sd3_fused_backward_pass: bool = option(
        False,
        label="Fused Backward Pass",
        section=SECTION,
        help="Update each weight as soon as its gradient is known, so that the gradients are never all in memory at "
        "once.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=("dreambooth", "finetune"),
    )
    sd3_disable_mmap_load_safetensors: bool = option(
        False,
        label="Disable mmap load safe tensors",
        section=SECTION,
        help="Read model files in one go instead of memory-mapping them; faster on network drives and in WSL.",
        applies_when={"sd3_checkbox": (True,)},
        standing=MMAP,
        methods=("lora",),
    )
    save_clip: bool = option(
        False,
        label="Save CLIP models",
        section=SECTION,
        help="Also save CLIP-L and CLIP-G, as NAME_clip_l and NAME_clip_g next to the model. A diffusers folder "
        "contains them anyway.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=("dreambooth", "finetune"),
    )
    save_t5xxl: bool = option(
        False,
        label="Save T5-XXL model",
        section=SECTION,
        help="Also save T5-XXL, as NAME_t5xxl next to the model. A diffusers folder contains it anyway.",
        applies_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=("dreambooth", "finetune"),
    )
