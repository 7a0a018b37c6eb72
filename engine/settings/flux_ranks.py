"""Which layers of a FLUX.1 model a network attaches to, and with what rank."""

from __future__ import annotations

from engine.settings.option import Group, option

RANK_FOR_LAYERS = "Parameters/Basic/FLUX.1/Rank for layers"
BLOCKS_TO_TRAIN = "Parameters/Basic/FLUX.1/Blocks to train"

INPUTS = ("img_in", "time_in", "vector_in", "guidance_in", "txt_in")
"""FLUX.1's layers before its blocks, in the order of in_dims."""


class FluxRanks(Group):
    img_attn_dim: str = option(
        "",
        label="img_attn_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the image attention in the double blocks; if empty, Network Rank; 0 leaves it untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    txt_attn_dim: str = option(
        "",
        label="txt_attn_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the text attention in the double blocks; if empty, Network Rank; 0 leaves it untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    img_mlp_dim: str = option(
        "",
        label="img_mlp_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the image feed-forward layers in the double blocks; if empty, Network Rank; 0 leaves them "
        "untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    txt_mlp_dim: str = option(
        "",
        label="txt_mlp_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the text feed-forward layers in the double blocks; if empty, Network Rank; 0 leaves them "
        "untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    img_mod_dim: str = option(
        "",
        label="img_mod_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the image modulation in the double blocks; if empty, Network Rank; 0 leaves it untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    txt_mod_dim: str = option(
        "",
        label="txt_mod_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the text modulation in the double blocks; if empty, Network Rank; 0 leaves it untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    single_dim: str = option(
        "",
        label="single_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the layers in the single blocks; if empty, Network Rank; 0 leaves them untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    single_mod_dim: str = option(
        "",
        label="single_mod_dim",
        section=RANK_FOR_LAYERS,
        help="Rank of the modulation in the single blocks; if empty, Network Rank; 0 leaves it untrained.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    in_dims: str = option(
        "",
        label="in_dims",
        section=RANK_FOR_LAYERS,
        help="Ranks of the five input layers, separated by commas. Leave empty not to train them.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    train_double_block_indices: str = option(
        "all",
        label="train_double_block_indices",
        section=BLOCKS_TO_TRAIN,
        help="Which of the 19 double blocks the network is attached to: all, none, or numbers such as 0,1,5-8.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
    train_single_block_indices: str = option(
        "all",
        label="train_single_block_indices",
        section=BLOCKS_TO_TRAIN,
        help="Which of the 38 single blocks the network is attached to: all, none, or numbers such as 0,1,5-8.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
    )
