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
        help="Factors of the learning rate for the UNet's 12 blocks on the way down, with commas; or cosine, sine, "
        "linear, reverse_linear or zeros, each with +base where wanted.",
        standing=BY_BLOCK,
        also=("LoRA block weights",),
        methods=("lora",),
    )
    mid_lr_weight: str = option(
        "",
        label="Mid LR weights",
        section=WEIGHTS,
        help="Factor of the learning rate for the UNet's middle block.",
        standing=BY_BLOCK,
        also=("LoRA block weights",),
        methods=("lora",),
    )
    up_lr_weight: str = option(
        "",
        label="Up LR weights",
        section=WEIGHTS,
        help="The same as Down LR weights for the 12 blocks on the way up.",
        standing=BY_BLOCK,
        also=("LoRA block weights",),
        methods=("lora",),
    )
    block_lr_zero_threshold: str = option(
        "",
        label="Blocks LR zero threshold",
        section=WEIGHTS,
        help="Blocks whose factor is this or less are not trained at all.",
        standing=BY_BLOCK,
        also=("Threshold",),
        methods=("lora",),
    )
    block_dims: str = option(
        "",
        label="Block dims",
        section=BLOCKS,
        help="Ranks for each block, with commas: 25 for SD models (12 down, 1 middle, 12 up), 23 for SDXL. Empty for "
        "Network Rank everywhere.",
        standing=BY_BLOCK,
        also=("Bdim",),
        methods=("lora",),
    )
    block_alphas: str = option(
        "",
        label="Block alphas",
        section=BLOCKS,
        help="Alphas for each block, as many as ranks. Empty for Network Alpha everywhere.",
        standing=BY_BLOCK,
        also=("Balpha",),
        methods=("lora",),
    )
    conv_block_dims: str = option(
        "",
        label="Conv dims",
        section=CONV,
        help="Ranks for each block's 3×3 convolutions. Empty leaves them alone.",
        standing=BY_BLOCK,
        also=("CONVdim",),
        methods=("lora",),
    )
    conv_block_alphas: str = option(
        "",
        label="Conv alphas",
        section=CONV,
        help="Alphas for each block's 3×3 convolutions.",
        standing=BY_BLOCK,
        also=("CONValpha",),
        methods=("lora",),
    )
