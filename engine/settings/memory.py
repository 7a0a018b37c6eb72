"""How memory and exactness are traded."""

from __future__ import annotations

from typing import Literal

from engine.settings.kin import EVERY_METHOD
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
        help="How attention is computed. All choices give the same result, with different speed and memory use.",
        standing=ATTENTION,
        also=("Use xformers", "Xformers"),
    )
    mem_eff_attn: bool = option(
        False,
        label="Memory efficient attention",
        section=ADVANCED,
        help="An older way to save memory in attention; slower than the others.",
        standing=ATTENTION,
    )
    full_fp16: bool = option(
        False,
        label="Full fp16 training (experimental)",
        section=ADVANCED,
        help="Keep the trained weights and their gradients in fp16 too. Uses the least memory, but training may "
        "become unstable.",
        also=("Full fp16 training",),
    )
    full_bf16: bool = option(
        False,
        label="Full bf16 training (experimental)",
        section=ADVANCED,
        help="Keep the trained weights and their gradients in bf16 too, on RTX 30 cards or newer. Small updates may "
        "be lost.",
        also=("Full bf16 training",),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=("dreambooth", "lora", "hypernetwork", "finetune"),
    )
    fp8_base: bool = option(
        False,
        label="fp8 base",
        section=ADVANCED,
        help="Keep the base model in 8 bits: half the memory of fp16, slightly less precise.",
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    fp8_base_unet: bool = option(
        False,
        label="fp8 base unet",
        section=ADVANCED,
        help="The same for the UNet or transformer only; the text encoders stay as they are.",
        methods=("lora",),
        acts_for=("lora", "textual_inversion", "hypernetwork"),
    )
    base_weights: Literal["", "fp8", "int8", "nf4"] = option(
        "",
        label="Base weights",
        section=ADVANCED,
        help="How the base model is stored while a LoRA is trained on it: in the precision set under Mixed precision, "
        "in 8 bits (half the memory of fp16) or in 4 bits (a quarter). The LoRA itself keeps full precision.",
        ours=True,
    )
    blocks_to_swap: int = option(
        0,
        ge=0,
        le=57,
        step=1,
        widget="slider",
        label="Blocks to swap",
        section=ADVANCED,
        help="How many blocks of a FLUX.1 or SD 3 transformer are kept in main memory while they are not needed. Uses "
        "less GPU memory, but is slower. Only for a LoRA, and needs Gradient checkpointing.",
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    lowvram: bool = option(
        False,
        label="lowvram",
        section=ADVANCED,
        help="Load the model straight into GPU memory, for machines with little main memory.",
        standing=idle(
            "It decides where sd-scripts puts parts of the model while loading them; here each part goes to the GPU "
            "as soon as it is needed."
        ),
        also=("Colab",),
        methods=("lora",),
    )
    highvram: bool = option(
        False,
        label="highvram",
        section=ADVANCED,
        help="Do not free GPU memory between pictures while caching.",
        standing=idle(
            "It keeps sd-scripts from emptying its GPU memory cache between pictures; that is never done here."
        ),
        methods=("lora",),
    )

    def base_format(self) -> BaseFormat | None:
        """Of the UNet or transformer; None as Mixed precision says."""
        return self.base_weights or ("fp8" if self.fp8_base or self.fp8_base_unet else None)

    def encoder_format(self) -> BaseFormat | None:
        """Of the text encoders."""
        return self.base_weights or ("fp8" if self.fp8_base else None)
