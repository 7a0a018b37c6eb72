"""The small network that a LoRA run trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from engine.settings.families import FamilyName
from engine.settings.option import Group, option
from engine.settings.waiting import GGPO, LYCORIS, NETWORKS

BASIC = "Parameters/Basic"

LoraType = Literal[
    "Standard", "Anima", "Flux1", "Flux1 OFT", "HunyuanImage-2.1", "Kohya DyLoRA", "Kohya LoCon", "Kohya LoHa",
    "Kohya LoKr", "LoRA-FA", "Lumina", "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/DyLoRA",
    "LyCORIS/GLoRA", "LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr", "LyCORIS/Native Fine-Tuning",
]  # fmt: skip


OF_ONE_FAMILY: Mapping[LoraType, tuple[FamilyName, ...]] = {"Flux1": ("flux", "chroma"), "Lumina": ("lumina",)}
"""What kohya_ss calls the standard LoRA of some families, and of which."""


Part = Literal["unet", "text_encoder"]
PARTS: tuple[Part, ...] = ("unet", "text_encoder")
"""What a LoRA attaches to, each with a learning rate of its own: the denoiser, and the text encoders together."""


class Network(Group):
    lora_type: LoraType = option(
        "Standard",
        label="LoRA type",
        section=BASIC,
        kohya="LoRA_type",
        help="Standard is what most people use and every program reads; Flux1 and Lumina are the same on these models.",
        not_yet={
            kind: (LYCORIS if kind.startswith("LyCORIS/") else NETWORKS).why
            for kind in get_args(LoraType)
            if kind not in ("Standard", *OF_ONE_FAMILY)
        },
        also=("LoRA Type", "Network type"),
        methods=("lora",),
    )
    network_dim: int = option(
        8,
        ge=1,
        le=100_000,
        label="Network Rank (Dimension)",
        section=BASIC,
        help="Width of the trained matrices. More can hold more detail, makes a larger file, and overfits "
        "sooner. 8 to 32 is usual. LyCORIS/LoKr takes 100000 for the whole matrix.",
        source="Hu et al. 2021, arXiv:2106.09685",
        also=("Network Rank", "LoRA network rank", "Dim", "rank", "学习精度"),
        methods=("lora",),
    )
    network_alpha: float = option(
        1,
        ge=0.00001,
        le=1024,
        label="Network Alpha",
        section=BASIC,
        help="The LoRA acts with strength alpha ÷ rank. A smaller alpha learns more slowly; alpha equal to "
        "rank means full strength.",
        also=("LoRA network alpha", "alpha", "权重缩放"),
        methods=("lora",),
    )
    network_weights: str = option(
        "",
        widget="path",
        label="Network weights",
        section=BASIC,
        help="A trained LoRA file to start from, under the names of kohya, diffusers, ComfyUI or OneTrainer. It begins "
        "as strong as the file is, also with another alpha. Its own file is left as it is.",
        also=("LoRA network weights",),
        methods=("lora",),
    )
    dim_from_weights: bool = option(
        False,
        label="DIM from weights",
        section=BASIC,
        help="Take rank and alpha of each layer from the file in Network weights; layers that it has nothing for get "
        "what most of its have.",
        methods=("lora",),
    )
    network_dropout: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Network dropout",
        section=BASIC,
        help="Share of the low-rank values set to 0 in each step, at random. 0.1 to 0.5 is usual; 0 for none.",
        source="Srivastava et al. 2014",
        methods=("lora",),
    )
    rank_dropout: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Rank dropout",
        section=BASIC,
        help="Probability with which a whole rank is left out in a step. 0.1 to 0.3 is usual; 0 for none.",
        methods=("lora",),
    )
    module_dropout: float = option(
        0.0,
        ge=0.0,
        le=1.0,
        step=0.01,
        widget="slider",
        label="Module dropout",
        section=BASIC,
        help="Probability with which the network leaves a layer alone in a step. 0.1 to 0.3 is usual; 0 for none.",
        methods=("lora",),
    )
    scale_weight_norms: float = option(
        0,
        ge=0,
        le=10,
        step=0.01,
        widget="slider",
        label="Scale weight norms",
        section=BASIC,
        help="Scale a layer's change down wherever its norm grows above this. 1 is usual and stronger than 5; 0 for no"
        " limit.",
        also=("Max Norm Regularization",),
        methods=("lora",),
    )
    conv_dim: int = option(
        1,
        ge=0,
        le=100_000,
        label="Convolution Rank (Dimension)",
        section=BASIC,
        help="Rank for convolutions of 3×3 pixels, which Standard leaves alone; 0 leaves them alone too.",
        standing=LYCORIS,
        also=("Conv rank", "CONVdim"),
        methods=("lora",),
    )
    conv_alpha: float = option(
        1,
        ge=0,
        le=512,
        step=1,
        widget="slider",
        label="Convolution Alpha",
        section=BASIC,
        help="Alpha for those convolutions; they act with strength alpha ÷ rank.",
        standing=LYCORIS,
        also=("CONValpha",),
        methods=("lora",),
    )
    loraplus_lr_ratio: float = option(
        0,
        ge=0,
        le=128,
        label="LoRA+ learning rate ratio",
        section=BASIC,
        help="How many times faster the up matrices learn than the down matrices; 16 is the paper's advice for "
        "language models, 0 and 1 make no difference.",
        source="Hayou et al. 2024, arXiv:2402.12354",
        methods=("lora",),
    )
    loraplus_unet_lr_ratio: float = option(
        0,
        ge=0,
        le=128,
        label="LoRA+ Unet learning rate ratio",
        section=BASIC,
        help="The same for the UNet alone; 0 leaves it to the ratio above.",
        methods=("lora",),
    )
    loraplus_text_encoder_lr_ratio: float = option(
        0,
        ge=0,
        le=128,
        label="LoRA+ Text Encoder learning rate ratio",
        section=BASIC,
        help="The same for the text encoder alone; 0 leaves it to the ratio above.",
        methods=("lora",),
    )
    train_lora_ggpo: bool = option(
        False,
        label="Train LoRA GGPO",
        section=BASIC,
        help="Disturb the weights a little in each step, guided by their gradients, to find flatter and so more "
        "general solutions.",
        standing=GGPO,
        methods=("lora",),
    )
    ggpo_sigma: float = option(
        0.03,
        ge=0,
        label="GGPO sigma",
        section=BASIC,
        help="How strongly the weights' own size decides the disturbance.",
        applies_when={"train_lora_ggpo": (True,)},
        standing=GGPO,
        methods=("lora",),
    )
    ggpo_beta: float = option(
        0.01,
        ge=0,
        label="GGPO beta",
        section=BASIC,
        help="How strongly the gradients' size decides it.",
        applies_when={"train_lora_ggpo": (True,)},
        standing=GGPO,
        methods=("lora",),
    )

    def loraplus_ratio(self, part: Part) -> tuple[str, float]:
        """How many times faster a part's up matrices learn, 1 for no faster, and the option that says so."""
        own = f"loraplus_{part}_lr_ratio"
        option = own if getattr(self, own) else "loraplus_lr_ratio"
        return option, getattr(self, option) or 1.0
