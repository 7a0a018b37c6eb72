"""Ranks and learning rates of their own for blocks of the model, and for layers by their names."""

from __future__ import annotations

from engine.settings.option import Group, option

WEIGHTS = "Parameters/Advanced/Weights"
BLOCKS = "Parameters/Advanced/Blocks"
CONV = "Parameters/Advanced/Conv"
LAYERS = "Parameters/Advanced/Layers"


class Blocks(Group):
    down_lr_weight: str = option(
        "",
        label="Down LR weights",
        section=WEIGHTS,
        help="Learning rate factors for the down blocks of the UNet (12, or 9 for SDXL), separated by commas; or "
        "cosine, sine, linear, reverse_linear or zeros, optionally with +base.",
        also=("LoRA block weights",),
        methods=("lora",),
    )
    mid_lr_weight: str = option(
        "",
        label="Mid LR weights",
        section=WEIGHTS,
        help="Learning rate factor for the middle block of the UNet; three for SDXL.",
        also=("LoRA block weights",),
        methods=("lora",),
    )
    up_lr_weight: str = option(
        "",
        label="Up LR weights",
        section=WEIGHTS,
        help="Like Down LR weights, for the up blocks.",
        also=("LoRA block weights",),
        methods=("lora",),
    )
    block_lr_zero_threshold: str = option(
        "",
        label="Blocks LR zero threshold",
        section=WEIGHTS,
        help="Blocks with a factor at or below this are not trained at all.",
        also=("Threshold",),
        methods=("lora",),
    )
    block_dims: str = option(
        "",
        label="Block dims",
        section=BLOCKS,
        help="Rank of each block, separated by commas; 0 leaves it untrained. 25 numbers for SD 1 and 2 (12 down, "
        "1 middle, 12 up), 23 for SDXL, 57 for FLUX.1 (19 double, 38 single), 24 or 38 for SD 3. Leave empty to use "
        "Network Rank everywhere.",
        also=("Bdim",),
        methods=("lora",),
    )
    block_alphas: str = option(
        "",
        label="Block alphas",
        section=BLOCKS,
        help="Alpha of each block, as many numbers as ranks. Leave empty to use Network Alpha everywhere.",
        also=("Balpha",),
        methods=("lora",),
    )
    conv_block_dims: str = option(
        "",
        label="Conv dims",
        section=CONV,
        help="Rank of each block's 3×3 convolutions. Leave empty not to train them.",
        also=("CONVdim",),
        methods=("lora",),
    )
    conv_block_alphas: str = option(
        "",
        label="Conv alphas",
        section=CONV,
        help="Alpha of each block's 3×3 convolutions. Leave empty to use Convolution Alpha everywhere.",
        also=("CONValpha",),
        methods=("lora",),
    )
    exclude_patterns: str = option(
        "",
        label="Layers to leave out",
        section=LAYERS,
        help="Regular expressions separated by commas, such as mlp, attn2. Layers whose name in the LoRA file contains "
        "one are not trained.",
        also=("exclude_patterns",),
        ours=True,
        methods=("lora",),
    )
    include_patterns: str = option(
        "",
        label="Layers to keep",
        section=LAYERS,
        help="Regular expressions for layers that are trained although Layers to leave out names them. To train only "
        "these, leave out .* and keep them here.",
        also=("include_patterns",),
        ours=True,
        methods=("lora",),
    )
    network_reg_dims: str = option(
        "",
        label="Ranks by layer",
        section=LAYERS,
        help="PATTERN=RANK, separated by commas, such as attn=16, mlp=4: the first regular expression that a layer's "
        "name contains gives its rank; 0 leaves it untrained.",
        also=("network_reg_dims",),
        ours=True,
        methods=("lora",),
    )
    network_reg_lrs: str = option(
        "",
        label="Learning rates by layer",
        section=LAYERS,
        help="PATTERN=RATE, separated by commas, such as attn=1e-4, mlp=5e-5: takes the place of the learning rate of "
        "the layer's part.",
        also=("network_reg_lrs",),
        ours=True,
        methods=("lora",),
    )
