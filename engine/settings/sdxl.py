"""What only SDXL models ask for."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import CAPTIONS_ONCE, MMAP

SECTION = "Parameters/Basic/SDXL"


class Sdxl(Group):
    sdxl_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache text encoder outputs",
        section=SECTION,
        help="Encode every caption once before training: faster, and the text encoders leave the GPU. They cannot be "
        "trained then.",
        applies_when={"sdxl": (True,)},
        standing=CAPTIONS_ONCE,
        methods=("dreambooth", "lora", "finetune"),
    )
    sdxl_no_half_vae: bool = option(
        False,
        label="No half VAE",
        section=SECTION,
        help="Keep the VAE in full precision; SDXL's own breaks in fp16.",
        applies_when={"sdxl": (True,)},
    )
    fused_backward_pass: bool = option(
        False,
        label="Fused backward pass",
        section=SECTION,
        help="Update each weight as soon as its gradient is known, so that not all gradients are in memory at once. "
        "Each gradient is then shortened by itself. Not with optimizers that find their own rate.",
        methods=("dreambooth", "finetune"),
    )
    fused_optimizer_groups: int = option(
        0,
        ge=0,
        label="Fused optimizer groups",
        section=SECTION,
        help="Any number but 0 is the same as Fused backward pass, which here needs no groups.",
        methods=("dreambooth", "finetune"),
    )
    disable_mmap_load_safetensors: bool = option(
        False,
        label="Disable mmap load safe tensors",
        section=SECTION,
        help="Read model files in one go instead of page by page, which is faster on network drives and in WSL.",
        standing=MMAP,
        methods=("dreambooth", "textual_inversion", "finetune"),
    )
