"""Ranks and learning rates of their own for the UNet's blocks."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import BY_BLOCK

WEIGHTS = "Parameters/Advanced/Weights"
BLOCKS = "Parameters/Advanced/Blocks"
CONV = "Parameters/Advanced/Conv"


class Blocks(Group):
    down_lr_weight: str = option(
        "",
        label="Down LR weights",
        section=WEIGHTS,
        help="Learning rate factors for the 12 down blocks of the UNet, separated by commas; or cosine, sine, linear, "
        "reverse_linear or zeros, optionally with +base.",
        standing=BY_BLOCK,
        also=("LoRA block weights",),
        methods=("lora",),
    )
    mid_lr_weight: str = option(
        "",
        label="Mid LR weights",
        section=WEIGHTS,
        help="Learning rate factor for the middle block of the UNet.",
        standing=BY_BLOCK,
        also=("LoRA block weights",),
        methods=("lora",),
    )
    up_lr_weight: str = option(
        "",
        label="Up LR weights",
        section=WEIGHTS,
        help="Like Down LR weights, for the 12 up blocks.",
        standing=BY_BLOCK,
        also=("LoRA block weights",),
        methods=("lora",),
    )
    block_lr_zero_threshold: str = option(
        "",
        label="Blocks LR zero threshold",
        section=WEIGHTS,
        help="Blocks with a factor at or below this are not trained at all.",
        standing=BY_BLOCK,
        also=("Threshold",),
        methods=("lora",),
    )
    block_dims: str = option(
        "",
        label="Block dims",
        section=BLOCKS,
        help="Rank of each block, separated by commas: 25 numbers for SD models (12 down, 1 middle, 12 up), 23 for "
        "SDXL. Leave empty to use Network Rank everywhere.",
        standing=BY_BLOCK,
        also=("Bdim",),
        methods=("lora",),
    )
    block_alphas: str = option(
        "",
        label="Block alphas",
        section=BLOCKS,
        help="Alpha of each block, as many numbers as ranks. Leave empty to use Network Alpha everywhere.",
        standing=BY_BLOCK,
        also=("Balpha",),
        methods=("lora",),
    )
    conv_block_dims: str = option(
        "",
        label="Conv dims",
        section=CONV,
        help="Rank of each block's 3×3 convolutions. Leave empty not to train them.",
        standing=BY_BLOCK,
        also=("CONVdim",),
        methods=("lora",),
    )
    conv_block_alphas: str = option(
        "",
        label="Conv alphas",
        section=CONV,
        help="Alpha of each block's 3×3 convolutions.",
        standing=BY_BLOCK,
        also=("CONValpha",),
        methods=("lora",),
    )
