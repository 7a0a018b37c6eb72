"""Teaching the text encoder a new word."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option
from engine.settings.waiting import TEXTUAL_INVERSION

SECTION = "Parameters/Basic/Textual inversion"


class TextualInversion(Group):
    token_string: str = option(
        "",
        label="Token string",
        section=SECTION,
        help="The new word that is taught; it must not be one that the text encoder knows as a single token.",
        source="Gal et al. 2022, arXiv:2208.01618",
        standing=TEXTUAL_INVERSION,
        also=("Trigger word",),
        methods=("textual_inversion",),
    )
    init_word: str = option(
        "*",
        label="Init word",
        section=SECTION,
        help="A known word that the new one starts from, such as cat.",
        standing=TEXTUAL_INVERSION,
        methods=("textual_inversion",),
    )
    num_vectors_per_token: int = option(
        1,
        ge=1,
        le=75,
        step=1,
        widget="slider",
        label="Vectors",
        section=SECTION,
        help="How many tokens the new word takes. More hold more detail and leave less room in the prompt; 1 to 8 is "
        "usual.",
        standing=TEXTUAL_INVERSION,
        also=("Vectors per token",),
        methods=("textual_inversion",),
    )
    embedding_weights: str = option(
        "",
        widget="path",
        label="Resume TI training (Optional. Path to existing TI embedding file to keep training)",
        section=SECTION,
        kohya="weights",
        help="A trained embedding file to go on from.",
        standing=TEXTUAL_INVERSION,
        methods=("textual_inversion",),
    )
    caption_template: Literal["caption", "object template", "style template"] = option(
        "caption",
        label="Template",
        section=SECTION,
        kohya="template",
        help="Describe the pictures by their captions, or by set sentences about an object or a style.",
        standing=TEXTUAL_INVERSION,
        methods=("textual_inversion",),
    )
    stop_text_encoder_training_pct: int = option(
        0,
        ge=-1,
        le=100,
        step=1,
        widget="slider",
        label="Stop TE (% of total steps)",
        section="Parameters/Basic",
        help="kohya_ss's textual inversion tab saves its Stop TE under this name.",
        standing=TEXTUAL_INVERSION,
        methods=("textual_inversion",),
    )
