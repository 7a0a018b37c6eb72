"""What the LyCORIS networks are told beyond rank and alpha."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import LYCORIS

BASIC = "Parameters/Basic"
SECTION = "Parameters/Basic/LyCORIS"

EVERY_LYCORIS = (
    "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/DyLoRA", "LyCORIS/GLoRA", "LyCORIS/LoCon",
    "LyCORIS/LoHa", "LyCORIS/LoKr", "LyCORIS/Native Fine-Tuning",
)  # fmt: skip


class Lycoris(Group):
    lycoris_preset: str = option(
        "full",
        label="LyCORIS Preset",
        section=BASIC,
        kohya="LyCORIS_preset",
        help="Which parts of the model the network attaches to, or the path of a .toml file that lists them.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        suggestions=("attn-mlp", "attn-only", "full", "full-lin", "unet-transformer-only", "unet-convblock-only"),
        methods=("lora",),
    )
    lokr_factor: int = option(
        -1,
        ge=-1,
        le=64,
        step=1,
        widget="slider",
        label="LoKr factor",
        section=SECTION,
        kohya="factor",
        help="LoKr writes each matrix as a small one of about this size times a larger one; smaller values make a "
        "larger file, and -1 lets the size be chosen.",
        source="Yeh et al. 2023, arXiv:2309.14859",
        applies_when={"lora_type": ("LyCORIS/LoKr",)},
        standing=LYCORIS,
        also=("Factor",),
        methods=("lora",),
    )
    decompose_both: bool = option(
        False,
        label="LoKr decompose both",
        section=SECTION,
        help="LoKr splits the smaller of its two matrices into low ranks too.",
        applies_when={"lora_type": ("LyCORIS/LoKr",)},
        standing=LYCORIS,
        methods=("lora",),
    )
    bypass_mode: bool = option(
        False,
        label="Bypass mode",
        section=SECTION,
        help="Compute the network's change beside the layer instead of adding it to the layer's weights, as base "
        "models in 8 bits need it.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        methods=("lora",),
    )
    dora_wd: bool = option(
        False,
        label="DoRA Weight Decompose",
        section=SECTION,
        help="Train each weight's direction and length apart: DoRA. Somewhat slower, often closer to full fine-tuning.",
        source="Liu et al. 2024, arXiv:2402.09353",
        applies_when={"lora_type": ("LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr")},
        standing=LYCORIS,
        also=("DoRA",),
        methods=("lora",),
    )
    use_cp: bool = option(
        False,
        label="Use CP decomposition",
        section=SECTION,
        help="The older name of Use Tucker decomposition.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        also=("CP decomposition",),
        methods=("lora",),
    )
    use_tucker: bool = option(
        False,
        label="Use Tucker decomposition",
        section=SECTION,
        help="Split convolutions' kernels into a small core and two matrices, which needs fewer numbers.",
        source="Yeh et al. 2023, arXiv:2309.14859",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        methods=("lora",),
    )
    use_scalar: bool = option(
        False,
        label="Use Scalar",
        section=SECTION,
        help="Train a factor of the whole change too, starting at 0, in place of matrices that start at 0.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        methods=("lora",),
    )
    rank_dropout_scale: bool = option(
        False,
        label="Rank Dropout Scale",
        section=SECTION,
        help="Strengthen the ranks that rank dropout leaves, so that the sum stays the same on average.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        methods=("lora",),
    )
    oft_constrain: float = option(
        0.0,
        ge=0,
        label="Constrain OFT",
        section=SECTION,
        kohya="constrain",
        help="How far OFT may turn the weights from where they were; 0 for no limit.",
        source="Qiu et al. 2023, arXiv:2306.07280",
        applies_when={"lora_type": ("LyCORIS/BOFT", "LyCORIS/Diag-OFT")},
        standing=LYCORIS,
        also=("Constraint",),
        methods=("lora",),
    )
    oft_rescaled: bool = option(
        False,
        label="Rescaled OFT",
        section=SECTION,
        kohya="rescaled",
        help="OFT also trains a factor for each output.",
        applies_when={"lora_type": ("LyCORIS/BOFT", "LyCORIS/Diag-OFT")},
        standing=LYCORIS,
        methods=("lora",),
    )
    train_norm: bool = option(
        False,
        label="Train Norm",
        section=SECTION,
        help="Train the normalisation layers too.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=LYCORIS,
        methods=("lora",),
    )
    train_on_input: bool = option(
        True,
        label="iA3 train on input",
        section=SECTION,
        help="(IA)³ scales what goes into a layer instead of what comes out.",
        source="Liu et al. 2022, arXiv:2205.05638",
        applies_when={"lora_type": ("LyCORIS/iA3",)},
        standing=LYCORIS,
        methods=("lora",),
    )
    dylora_unit: int = option(
        1,
        ge=1,
        le=64,
        step=1,
        widget="slider",
        label="DyLoRA Unit / Block size",
        section=BASIC,
        kohya="unit",
        help="DyLoRA trains ranks in groups of this many; the file can later be cut down to any multiple of it.",
        source="Valipour et al. 2022, arXiv:2210.07558",
        applies_when={"lora_type": ("LyCORIS/DyLoRA", "Kohya DyLoRA")},
        standing=LYCORIS,
        also=("Block size",),
        methods=("lora",),
    )
