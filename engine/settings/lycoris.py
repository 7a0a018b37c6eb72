"""What the LyCORIS networks are told beyond rank and alpha."""

from __future__ import annotations

from engine.settings.network import LoraType
from engine.settings.option import Group, option
from engine.settings.waiting import BYPASS

BASIC = "Parameters/Basic"
SECTION = "Parameters/Basic/LyCORIS"

EVERY_LYCORIS = (
    "LyCORIS/iA3", "LyCORIS/BOFT", "LyCORIS/Diag-OFT", "LyCORIS/DyLoRA", "LyCORIS/GLoRA", "LyCORIS/LoCon",
    "LyCORIS/LoHa", "LyCORIS/LoKr", "LyCORIS/Native Fine-Tuning",
)  # fmt: skip


WITH_MAGNITUDES: tuple[LoraType, ...] = ("LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr")
"""Those that DoRA can be around."""

WITH_CORES = WITH_MAGNITUDES
"""Those whose convolutions may have a core between their matrices."""

PRESETS = (
    "full", "full-lin", "attn-mlp", "attn-only", "unet-only", "unet-transformer-only", "unet-convblock-only", "ia3",
)  # fmt: skip
"""LyCORIS's own, which say what a network is attached to."""


class Lycoris(Group):
    lycoris_preset: str = option(
        "full",
        label="LyCORIS Preset",
        section=BASIC,
        kohya="LyCORIS_preset",
        help="Which parts of the model the network is attached to: one of LyCORIS's presets, or the path of a .toml "
        "file such as LyCORIS reads, with lists of classes and names.",
        applies_when={"lora_type": EVERY_LYCORIS},
        suggestions=PRESETS,
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
        help="LoKr factors each matrix into a small one of about this size and a larger one. Smaller values make a "
        "larger file; -1 picks the size automatically.",
        source="Yeh et al. 2023, arXiv:2309.14859",
        applies_when={"lora_type": ("LyCORIS/LoKr", "Kohya LoKr")},
        also=("Factor",),
        methods=("lora",),
    )
    decompose_both: bool = option(
        False,
        label="LoKr decompose both",
        section=SECTION,
        help="LoKr also decomposes the smaller of its two matrices into low ranks.",
        applies_when={"lora_type": ("LyCORIS/LoKr",)},
        methods=("lora",),
    )
    full_matrix: bool = option(
        False,
        label="LoKr full matrix",
        section=SECTION,
        help="LoKr takes neither of its matrices apart, whatever the rank; alpha then has no effect.",
        applies_when={"lora_type": ("LyCORIS/LoKr",)},
        ours=True,
        methods=("lora",),
    )
    unbalanced_factorization: bool = option(
        False,
        label="LoKr unbalanced factorization",
        section=SECTION,
        help="LoKr gives its small matrix many rows and the large one few, which may learn more with a small factor.",
        applies_when={"lora_type": ("LyCORIS/LoKr",)},
        ours=True,
        methods=("lora",),
    )
    bypass_mode: bool = option(
        False,
        label="Bypass mode",
        section=SECTION,
        help="Compute the network's output alongside the layer instead of adding it to the layer's weights, as 8-bit "
        "base models require.",
        applies_when={"lora_type": EVERY_LYCORIS},
        standing=BYPASS,
        methods=("lora",),
    )
    dora_wd: bool = option(
        False,
        label="DoRA Weight Decompose",
        section=SECTION,
        help="DoRA: train the direction and the magnitude of each weight separately. Somewhat slower, but often "
        "closer to full fine-tuning.",
        source="Liu et al. 2024, arXiv:2402.09353",
        applies_when={"lora_type": WITH_MAGNITUDES},
        also=("DoRA",),
        methods=("lora",),
    )
    wd_on_output: bool = option(
        True,
        label="DoRA on output",
        section=SECTION,
        help="DoRA trains a magnitude for each output of a layer, as in the paper; turned off, for each input, as the "
        "files of older versions of LyCORIS have it.",
        applies_when={"lora_type": WITH_MAGNITUDES, "dora_wd": (True,)},
        ours=True,
        methods=("lora",),
    )
    use_cp: bool = option(
        False,
        label="Use CP decomposition",
        section=SECTION,
        help="The older name of Use Tucker decomposition.",
        applies_when={"lora_type": WITH_CORES},
        also=("CP decomposition",),
        methods=("lora",),
    )
    use_tucker: bool = option(
        False,
        label="Use Tucker decomposition",
        section=SECTION,
        help="Decompose convolution kernels into a small core and two matrices, which takes fewer parameters.",
        source="Yeh et al. 2023, arXiv:2309.14859",
        applies_when={"lora_type": (*WITH_CORES, "Kohya LoHa", "Kohya LoKr")},
        methods=("lora",),
    )
    use_scalar: bool = option(
        False,
        label="Use Scalar",
        section=SECTION,
        help="Train a scale factor that starts at 0, instead of matrices that start at 0.",
        applies_when={"lora_type": ("LyCORIS/GLoRA", "LyCORIS/LoCon", "LyCORIS/LoHa", "LyCORIS/LoKr")},
        methods=("lora",),
    )
    rank_dropout_scale: bool = option(
        False,
        label="Rank Dropout Scale",
        section=SECTION,
        help="Scale up the ranks that survive rank dropout, so that the average stays the same.",
        applies_when={"lora_type": EVERY_LYCORIS},
        methods=("lora",),
    )
    oft_constrain: float = option(
        0.0,
        ge=0,
        label="Constrain OFT",
        section=SECTION,
        kohya="constrain",
        help="How far OFT may rotate the weights from where they started; 0 for no limit.",
        source="Qiu et al. 2023, arXiv:2306.07280",
        applies_when={"lora_type": ("LyCORIS/BOFT", "LyCORIS/Diag-OFT")},
        also=("Constraint",),
        methods=("lora",),
    )
    oft_rescaled: bool = option(
        False,
        label="Rescaled OFT",
        section=SECTION,
        kohya="rescaled",
        help="OFT also trains a scale factor for each output.",
        applies_when={"lora_type": ("LyCORIS/BOFT", "LyCORIS/Diag-OFT")},
        methods=("lora",),
    )
    train_norm: bool = option(
        False,
        label="Train Norm",
        section=SECTION,
        help="Train the normalisation layers too, in a UNet and in Lumina; FLUX.1 and Stable Diffusion 3 have none "
        "that files of this kind can hold.",
        applies_when={"lora_type": EVERY_LYCORIS},
        methods=("lora",),
    )
    train_on_input: bool = option(
        True,
        label="iA3 train on input",
        section=SECTION,
        help="(IA)³ scales a layer's input instead of its output.",
        source="Liu et al. 2022, arXiv:2205.05638",
        applies_when={"lora_type": ("LyCORIS/iA3",)},
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
        help="DyLoRA trains ranks in groups of this size; the file can later be cut down to any multiple of it.",
        source="Valipour et al. 2022, arXiv:2210.07558",
        applies_when={"lora_type": ("LyCORIS/DyLoRA", "Kohya DyLoRA")},
        also=("Block size",),
        methods=("lora",),
    )
