"""What only SDXL models ask for."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import CAPTIONS_ONCE, MMAP, WHOLE_MODEL

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
        "With Adafactor only.",
        standing=WHOLE_MODEL,
        methods=("dreambooth", "finetune"),
    )
    fused_optimizer_groups: int = option(
        0,
        ge=0,
        label="Fused optimizer groups",
        section=SECTION,
        help="The same for any optimizer, in so many groups of weights; 4 to 10 is usual, 0 for none.",
        standing=WHOLE_MODEL,
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
