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
        help="Encode every caption once before training. Faster, and it frees the GPU memory used by the text "
        "encoders, which then cannot be trained.",
        applies_when={"sdxl": (True,)},
        standing=CAPTIONS_ONCE,
        methods=("dreambooth", "lora", "finetune"),
    )
    sdxl_no_half_vae: bool = option(
        False,
        label="No half VAE",
        section=SECTION,
        help="Keep the VAE in full precision; SDXL's original VAE breaks in fp16.",
        applies_when={"sdxl": (True,)},
    )
    fused_backward_pass: bool = option(
        False,
        label="Fused backward pass",
        section=SECTION,
        help="Update each weight as soon as its gradient is known, so that the gradients are never all in memory at "
        "once. Gradients are then clipped one by one. Not for optimizers that find their own learning rate.",
        methods=("dreambooth", "finetune"),
    )
    fused_optimizer_groups: int = option(
        0,
        ge=0,
        label="Fused optimizer groups",
        section=SECTION,
        help="Any number except 0 is the same as Fused backward pass, which needs no groups here.",
        methods=("dreambooth", "finetune"),
    )
    disable_mmap_load_safetensors: bool = option(
        False,
        label="Disable mmap load safe tensors",
        section=SECTION,
        help="Read model files in one go instead of memory-mapping them; faster on network drives and in WSL.",
        standing=MMAP,
        methods=("dreambooth", "textual_inversion", "finetune"),
    )
