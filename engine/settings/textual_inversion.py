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
        help="The new word to teach; it must not be one that the text encoder already knows as a single token.",
        source="Gal et al. 2022, arXiv:2208.01618",
        standing=TEXTUAL_INVERSION,
        also=("Trigger word",),
        methods=("textual_inversion",),
    )
    init_word: str = option(
        "*",
        label="Init word",
        section=SECTION,
        help="An existing word to start from, such as cat.",
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
        help="How many tokens the new word uses. More tokens capture more detail but leave less room in the prompt; 1 "
        "to 8 is usual.",
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
        help="A trained embedding file to continue from.",
        standing=TEXTUAL_INVERSION,
        methods=("textual_inversion",),
    )
    caption_template: Literal["caption", "object template", "style template"] = option(
        "caption",
        label="Template",
        section=SECTION,
        kohya="template",
        help="Describe the pictures with their own captions, or with fixed sentences about an object or a style.",
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
        help="Stop TE, under the key kohya_ss's Textual inversion tab uses.",
        standing=TEXTUAL_INVERSION,
        methods=("textual_inversion",),
    )
