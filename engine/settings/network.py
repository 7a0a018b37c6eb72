"""The small network that a LoRA run trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from engine.settings.families import FamilyName
from engine.settings.option import Group, Standing, option
from engine.settings.waiting import ANIMA, HUNYUAN, NETWORKS

BASIC = "Parameters/Basic"

LoraType = Literal[
    "Standard", "Anima", "Flux1", "Flux1 OFT", "HunyuanImage-2.1", "Kohya DyLoRA", "Kohya LoCon", "Kohya LoHa",
    "Kohya LoKr", "LoRA-FA", "Lumina", "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/DyLoRA",
    "LyCORIS/GLoRA", "LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr", "LyCORIS/Native Fine-Tuning", "T-LoRA",
]  # fmt: skip


OF_ONE_FAMILY: Mapping[LoraType, tuple[FamilyName, ...]] = {
    "Flux1": ("flux", "chroma"),
    "Flux1 OFT": ("flux", "chroma"),
    "Lumina": ("lumina",),
}
"""Those for some families alone, and for which."""

OTHER_NAMES: tuple[LoraType, ...] = ("Flux1", "Lumina")
"""What kohya_ss calls the standard LoRA of some families."""


def is_of_two_matrices(kind: LoraType) -> bool:
    """Whether it is a standard LoRA, under whatever name, or one with convolutions."""
    return kind in ("Standard", "Kohya LoCon", *OTHER_NAMES, *WITH_FROZEN_DOWN)


WITH_FROZEN_DOWN: tuple[LoraType, ...] = ("LoRA-FA",)
"""Standard LoRAs whose down matrices stay as they were drawn."""


Part = Literal["unet", "text_encoder"]
ACTING: tuple[LoraType, ...] = (
    "Standard", "Flux1", "Flux1 OFT", "Lumina", "Kohya DyLoRA", "Kohya LoCon", "Kohya LoHa", "Kohya LoKr", "LoRA-FA",
    "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/DyLoRA", "LyCORIS/GLoRA", "LyCORIS/LoCon",
    "LyCORIS/LoHa", "LyCORIS/LoKr", "LyCORIS/Native Fine-Tuning", "T-LoRA",
)  # fmt: skip
"""Those that can be trained."""

_WAITING: Mapping[str, Standing] = {"Anima": ANIMA, "HunyuanImage-2.1": HUNYUAN}
"""What others wait for, besides their own type."""

WITHOUT_NORM: tuple[LoraType, ...] = (
    "Flux1 OFT", "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/GLoRA",
)  # fmt: skip
"""Those whose change is no product of what is trained, so that its norm cannot be limited by shortening that."""

WITHOUT_FAST: tuple[LoraType, ...] = (
    "Flux1 OFT", "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/Native Fine-Tuning",
)  # fmt: skip
"""Those for which LoRA+ is not defined."""

RANKED_BY_MATRIX: tuple[LoraType, ...] = (
    "Standard", "Flux1", "Lumina", "Kohya LoCon", "Kohya LoHa", "Kohya DyLoRA", "LoRA-FA", "LyCORIS/DyLoRA",
    "LyCORIS/GLoRA", "LyCORIS/LoCon", "LyCORIS/LoHa", "T-LoRA",
)  # fmt: skip
"""Those with matrices of the rank and the layer's width, which says nothing more where it is larger than that."""

WITH_CONVOLUTIONS: tuple[LoraType, ...] = (
    "Kohya DyLoRA", "Kohya LoCon", "Kohya LoHa", "Kohya LoKr", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/DyLoRA",
    "LyCORIS/GLoRA", "LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr",
)  # fmt: skip
"""Those with a rank of their own for convolutions of 3×3 pixels."""

WITH_GGPO: tuple[LoraType, ...] = ("Standard", "Flux1", "Lumina", "Kohya LoCon")
"""Those whose weights can be perturbed while they are trained."""

WITH_RS_LORA: tuple[LoraType, ...] = (
    "Standard", "Flux1", "Lumina", "LoRA-FA", "Kohya LoCon", "Kohya LoHa", "Kohya LoKr", "LyCORIS/LoCon",
    "LyCORIS/LoHa", "LyCORIS/LoKr", "T-LoRA",
)  # fmt: skip
"""Those that may be applied with a strength of alpha ÷ √rank."""

PARTS: tuple[Part, ...] = ("unet", "text_encoder")
"""What a LoRA attaches to, each with a learning rate of its own: the denoiser, and the text encoders together."""


class Network(Group):
    lora_type: LoraType = option(
        "Standard",
        label="LoRA type",
        section=BASIC,
        kohya="LoRA_type",
        help="Standard is what most people use, and every program can load it; Flux1 and Lumina are the same thing "
        "for those models. LoHa and LoKr make small files; a DyLoRA can be cut down to fewer ranks later; LoRA-FA "
        "needs less memory; T-LoRA keeps a few pictures from being learned by heart.",
        not_yet={kind: _WAITING.get(kind, NETWORKS).why for kind in get_args(LoraType) if kind not in ACTING},
        also=("LoRA Type", "Network type"),
        methods=("lora",),
    )
    network_dim: int = option(
        8,
        ge=1,
        le=100_000,
        label="Network Rank (Dimension)",
        section=BASIC,
        help="Size of the trained matrices. A higher rank captures more detail, but makes a larger file and overfits "
        "sooner. 8 to 32 is usual. For LyCORIS/LoKr, 100000 means the full matrix. Flux1 OFT takes it as the number of "
        "blocks.",
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
        help="The LoRA is applied with strength alpha ÷ rank. A smaller alpha learns more slowly; alpha equal to rank "
        "means full strength. Flux1 OFT takes it as its constraint, for which 0.001 is usual.",
        also=("LoRA network alpha", "alpha", "权重缩放"),
        methods=("lora",),
    )
    rs_lora: bool = option(
        False,
        label="Rank-stabilised LoRA",
        section=BASIC,
        help="Apply the LoRA with strength alpha ÷ √rank instead of alpha ÷ rank, so that high ranks do not learn more "
        "slowly than low ones. The file carries this in its alpha, so every program loads it at the right strength.",
        source="Kalajdzievski 2023, arXiv:2312.03732",
        applies_when={"lora_type": WITH_RS_LORA},
        also=("rsLoRA", "rs_lora"),
        methods=("lora",),
        ours=True,
    )
    tlora_least_rank: int = option(
        1,
        ge=1,
        le=100_000,
        label="T-LoRA least rank",
        section=BASIC,
        help="How many ranks are trained on pure noise; the less noise, the more ranks, up to Network Rank. Few ranks "
        "at much noise keep a small set of pictures from being learned by heart. Other programs apply the saved file "
        "with all its ranks at every step, as samples here do, so layout and background may show it more strongly than "
        "they were trained to.",
        source="Soboleva et al. 2025, arXiv:2507.05964",
        applies_when={"lora_type": ("T-LoRA",)},
        methods=("lora",),
        ours=True,
    )
    tlora_exponent: float = option(
        1.0,
        ge=0,
        le=16,
        label="T-LoRA exponent",
        section=BASIC,
        help="How fast the ranks come in as the noise fades: 1 evenly, more than 1 later, less than 1 earlier.",
        source="Soboleva et al. 2025, arXiv:2507.05964",
        applies_when={"lora_type": ("T-LoRA",)},
        methods=("lora",),
        ours=True,
    )
    network_weights: str = option(
        "",
        widget="path",
        label="Network weights",
        section=BASIC,
        help="A trained file of this LoRA type to continue from, with kohya, LyCORIS, diffusers, ComfyUI or OneTrainer "
        "key names. Training starts at the file's own strength even if you choose another alpha. The file itself is "
        "not changed.",
        also=("LoRA network weights",),
        methods=("lora",),
    )
    dim_from_weights: bool = option(
        False,
        label="DIM from weights",
        section=BASIC,
        help="Take each layer's rank and alpha from the file in Network weights, and all that its sizes depend on, "
        "such as LoKr factor.",
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
        help="Share of the low-rank activations set to 0 at random in each step. 0.1 to 0.5 is usual; 0 turns it off.",
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
        help="Probability that a whole rank is dropped in a step. 0.1 to 0.3 is usual; 0 turns it off.",
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
        help="Probability that the network skips a layer in a step. 0.1 to 0.3 is usual; 0 turns it off.",
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
        help="Scale a layer's weights down whenever their norm exceeds this. 1 is usual; higher is weaker; 0 means no "
        "limit.",
        also=("Max Norm Regularization",),
        methods=("lora",),
    )
    conv_dim: int = option(
        1,
        ge=0,
        le=100_000,
        label="Convolution Rank (Dimension)",
        section=BASIC,
        help="Rank for 3×3 convolutions, which Standard does not train; 0 leaves them untrained.",
        applies_when={"lora_type": WITH_CONVOLUTIONS},
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
        help="Alpha for those convolutions; their strength is alpha ÷ rank.",
        applies_when={"lora_type": WITH_CONVOLUTIONS},
        also=("CONValpha",),
        methods=("lora",),
    )
    loraplus_lr_ratio: float = option(
        0,
        ge=0,
        le=128,
        label="LoRA+ learning rate ratio",
        section=BASIC,
        help="How many times higher the learning rate of the up matrices is than that of the down matrices. The paper "
        "recommends 16 for language models; 0 and 1 make no difference.",
        source="Hayou et al. 2024, arXiv:2402.12354",
        methods=("lora",),
    )
    loraplus_unet_lr_ratio: float = option(
        0,
        ge=0,
        le=128,
        label="LoRA+ Unet learning rate ratio",
        section=BASIC,
        help="The same for the UNet only; 0 uses the ratio above.",
        methods=("lora",),
    )
    loraplus_text_encoder_lr_ratio: float = option(
        0,
        ge=0,
        le=128,
        label="LoRA+ Text Encoder learning rate ratio",
        section=BASIC,
        help="The same for the text encoder only; 0 uses the ratio above.",
        methods=("lora",),
    )
    train_lora_ggpo: bool = option(
        False,
        label="Train LoRA GGPO",
        section=BASIC,
        help="Perturb the weights slightly in each step, guided by their gradients, to find flatter solutions that "
        "generalize better.",
        source="Chang et al. 2025, arXiv:2502.14538v1",
        applies_when={"lora_type": WITH_GGPO},
        methods=("lora",),
    )
    ggpo_sigma: float = option(
        0.03,
        ge=0,
        label="GGPO sigma",
        section=BASIC,
        help="How strongly the size of the weights affects the perturbation.",
        applies_when={"train_lora_ggpo": (True,), "lora_type": WITH_GGPO},
        methods=("lora",),
    )
    ggpo_beta: float = option(
        0.01,
        ge=0,
        label="GGPO beta",
        section=BASIC,
        help="How strongly the size of the gradients affects it.",
        applies_when={"train_lora_ggpo": (True,), "lora_type": WITH_GGPO},
        methods=("lora",),
    )

    def loraplus_ratio(self, part: Part) -> tuple[str, float]:
        """How many times faster a part's up matrices learn, 1 for no faster, and the option that says so."""
        own = f"loraplus_{part}_lr_ratio"
        option = own if getattr(self, own) else "loraplus_lr_ratio"
        return option, getattr(self, option) or 1.0
