"""How memory and exactness are traded."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, idle, option
from engine.settings.waiting import ATTENTION

ADVANCED = "Parameters/Advanced"

BaseFormat = Literal["fp8", "int8", "nf4"]
"""A number format for weights that do not learn."""


class Memory(Group):
    cross_attention: Literal["none", "sdpa", "xformers"] = option(
        "xformers",
        label="CrossAttention",
        section=ADVANCED,
        kohya="xformers",
        help="How attention is computed: all ways give the same result, at different speed and memory.",
        standing=ATTENTION,
        also=("Use xformers", "Xformers"),
    )
    mem_eff_attn: bool = option(
        False,
        label="Memory efficient attention",
        section=ADVANCED,
        help="An older way to save memory in attention, slower than the others.",
        standing=ATTENTION,
    )
    full_fp16: bool = option(
        False,
        label="Full fp16 training (experimental)",
        section=ADVANCED,
        help="Keep what is trained and its gradients in fp16 too. Needs the least memory and may break down.",
        also=("Full fp16 training",),
    )
    full_bf16: bool = option(
        False,
        label="Full bf16 training (experimental)",
        section=ADVANCED,
        help="Keep what is trained and its gradients in bf16 too, for cards since RTX 30. Small steps may be lost.",
        also=("Full bf16 training",),
        methods=("dreambooth", "lora", "finetune"),
    )
    fp8_base: bool = option(
        False,
        label="fp8 base",
        section=ADVANCED,
        help="Keep the base model in 8 bits: half the memory of fp16, slightly less exact.",
        methods=("dreambooth", "lora", "finetune"),
    )
    fp8_base_unet: bool = option(
        False,
        label="fp8 base unet",
        section=ADVANCED,
        help="The same for the UNet or the transformer alone; the text encoders stay as they are.",
        methods=("lora",),
    )
    base_weights: Literal["", "fp8", "int8", "nf4"] = option(
        "",
        label="Base weights",
        section=ADVANCED,
        help="How the base model is kept while a LoRA is trained on it: as Mixed precision says, in 8 bits (half of "
        "fp16's memory) or in 4 (a quarter). The LoRA itself stays exact.",
    )
    blocks_to_swap: int = option(
        0,
        ge=0,
        le=57,
        step=1,
        widget="slider",
        label="Blocks to swap",
        section=ADVANCED,
        help="So many blocks of a FLUX.1 or SD 3 transformer wait in main memory while they are not needed: less GPU "
        "memory, slower. Needs Gradient checkpointing, and a LoRA.",
        methods=("dreambooth", "lora", "finetune"),
    )
    lowvram: bool = option(
        False,
        label="lowvram",
        section=ADVANCED,
        help="Load the model into GPU memory at once, for machines with little main memory.",
        standing=idle(
            "It chooses where sd-scripts puts parts of the model while it loads them; each part here goes to the "
            "GPU as soon as it is needed."
        ),
        also=("Colab",),
        methods=("lora",),
    )
    highvram: bool = option(
        False,
        label="highvram",
        section=ADVANCED,
        help="Do not free GPU memory between the pictures that are cached.",
        standing=idle(
            "It keeps sd-scripts from emptying its store of GPU memory between pictures; that is never done here."
        ),
        methods=("lora",),
    )

    def base_format(self) -> BaseFormat | None:
        """Of the UNet or transformer; None as Mixed precision says."""
        return self.base_weights or ("fp8" if self.fp8_base or self.fp8_base_unet else None)

    def encoder_format(self) -> BaseFormat | None:
        """Of the text encoders."""
        return self.base_weights or ("fp8" if self.fp8_base else None)
