"""Which layers of a FLUX.1 model a network attaches to, and with what rank."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import BY_BLOCK

RANK_FOR_LAYERS = "Parameters/Basic/FLUX.1/Rank for layers"
BLOCKS_TO_TRAIN = "Parameters/Basic/FLUX.1/Blocks to train"


class FluxRanks(Group):
    img_attn_dim: str = option(
        "",
        label="img_attn_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the attention over the picture in the double blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    txt_attn_dim: str = option(
        "",
        label="txt_attn_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the attention over the text in the double blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    img_mlp_dim: str = option(
        "",
        label="img_mlp_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the picture's feed-forward layers in the double blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    txt_mlp_dim: str = option(
        "",
        label="txt_mlp_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the text's feed-forward layers in the double blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    img_mod_dim: str = option(
        "",
        label="img_mod_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the picture's modulation in the double blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    txt_mod_dim: str = option(
        "",
        label="txt_mod_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the text's modulation in the double blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    single_dim: str = option(
        "",
        label="single_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the layers of the single blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    single_mod_dim: str = option(
        "",
        label="single_mod_dim",
        section=RANK_FOR_LAYERS,
        help="Rank for the modulation of the single blocks; empty for Network Rank, 0 for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    in_dims: str = option(
        "",
        label="in_dims",
        section=RANK_FOR_LAYERS,
        help="Ranks for the five layers that the model's inputs pass, with commas; empty for none.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    train_double_block_indices: str = option(
        "all",
        label="train_double_block_indices",
        section=BLOCKS_TO_TRAIN,
        help="Which of the 19 double blocks the network attaches to: all, none, or numbers such as 0,1,5-8.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
    train_single_block_indices: str = option(
        "all",
        label="train_single_block_indices",
        section=BLOCKS_TO_TRAIN,
        help="Which of the 38 single blocks the network attaches to: all, none, or numbers such as 0,1,5-8.",
        applies_when={"flux1_checkbox": (True,)},
        standing=BY_BLOCK,
        methods=("lora",),
    )
