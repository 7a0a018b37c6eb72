"""The small network that a LoRA run trains."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option

BASIC = "Parameters/Basic"


class Network(Group):
    lora_type: Literal["Standard"] = option(
        "Standard",
        label="LoRA type",
        section=BASIC,
        kohya="LoRA_type",
        help="Standard is what most people use and every program reads.",
    )
    network_dim: int = option(
        8,
        ge=1,
        le=512,
        step=1,
        widget="slider",
        label="Network Rank (Dimension)",
        section=BASIC,
        help="Width of the trained matrices. More can hold more detail, makes a larger file, and overfits "
        "sooner. 8 to 32 is usual.",
        source="Hu et al. 2021, arXiv:2106.09685",
    )
    network_alpha: float = option(
        1.0,
        ge=0.00001,
        le=1024,
        label="Network Alpha",
        section=BASIC,
        help="The LoRA acts with strength alpha ÷ rank. A smaller alpha learns more slowly; alpha equal to "
        "rank means full strength.",
    )
