"""LECO and sliders: a LoRA that learns from what the model itself makes of prompts, without a picture."""

from __future__ import annotations

from typing import Any, Literal

from engine.settings.option import Group, option

SECTION = "Parameters/Basic"
ONLY = ("leco",)

Action = Literal["erase", "enhance", "slide"]

IN_THE_FORM: dict[str, tuple[Any, ...]] = {"prompts_file": ("",)}


class Leco(Group):
    prompts_file: str = option(
        "",
        widget="file",
        label="Prompts file (TOML or YAML)",
        section=SECTION,
        help="Several sets of prompts, as sd-scripts' LECO (TOML) and LECO itself (YAML) read them. Without a file, "
        "the fields below are the only set.",
        also=("Prompts TOML file",),
        methods=ONLY,
        ours=True,
    )
    leco_target: str = option(
        "",
        label="Target prompt",
        section=SECTION,
        help="What shall look different with the LoRA, such as van gogh; for a slider what it is about, such as "
        "person. Empty is every picture.",
        also=("Target class",),
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    leco_positive: str = option(
        "",
        label="Positive prompt",
        section=SECTION,
        help="What is erased from it, or strengthened in it; for a slider what more strength leads to, such as old "
        "person. Empty is the target itself.",
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    leco_unconditional: str = option(
        "",
        label="Unconditional prompt",
        section=SECTION,
        help="What the positive prompt is compared with, usually nothing; for a slider its opposite, such as young "
        "person, to which a negative strength leads.",
        also=("Negative prompt",),
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    leco_neutral: str = option(
        "",
        label="Neutral prompt",
        section=SECTION,
        help="What the target becomes without the concept: empty for anything, or for a slider usually the target.",
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    leco_action: Action = option(
        "erase",
        label="Action",
        section=SECTION,
        help="erase takes the positive prompt out of the target, enhance puts it in, and slide does one at negative "
        "strengths of the LoRA and the other at positive ones.",
        source="Gandikota et al. 2023, arXiv:2303.07345 (erase), arXiv:2311.12092 (sliders); LECO",
        also=("Slider", "Concept slider"),
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    leco_guidance_scale: float = option(
        1.0,
        ge=0,
        le=30,
        label="Guidance scale",
        section=SECTION,
        help="How far the target is taken from the neutral prompt, in steps from the unconditional prompt to the "
        "positive one. 1 to 3 is usual; more is stronger, and coarser.",
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    leco_multiplier: float = option(
        1.0,
        ge=-10,
        le=10,
        label="LoRA multiplier",
        section=SECTION,
        help="The strength of the LoRA at which this is learned. A slider is learned at its opposite too.",
        applies_when=IN_THE_FORM,
        methods=ONLY,
        ours=True,
    )
    max_denoising_steps: int = option(
        40,
        ge=2,
        le=1000,
        label="Max denoising steps",
        section=SECTION,
        help="How many steps the model would draw a picture in. Each time, it draws a part of them, and learns there.",
        methods=ONLY,
        ours=True,
    )
    leco_denoise_guidance_scale: float = option(
        3.0,
        ge=0,
        le=30,
        label="LECO denoise guidance scale",
        section=SECTION,
        help="The CFG scale with which it draws them.",
        methods=ONLY,
        ours=True,
    )
