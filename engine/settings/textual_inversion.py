"""Teaching the text encoder a new word."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

from engine.settings.option import Group, idle, option

SECTION = "Parameters/Basic"

BESIDE_A_LORA: dict[str, tuple[Any, ...]] = {"pivotal": (True,)}
"""Where a LoRA is trained, words are taught only if they are asked for."""

IN_LORA: Literal["in the LoRA file"] = "in the LoRA file"

NEGATIVE = "-neg"
"""How the word for what pictures do not show ends, and its file, as DreamArtist's extension looks for it."""

ALONE: dict[str, tuple[Any, ...]] = {"method": ("textual_inversion",)}


def folded(text: str) -> str:
    """As CLIP reads it: the same however its letters are composed, and in any case."""
    return unicodedata.normalize("NFC", text).lower()


def as_a_word(*words: str) -> re.Pattern[str]:
    """Where one of the words, a group, stands as a word of its own in a text; all of them folded()."""
    either = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(rf"(?<!\w)({either})(?!\w)")


class TextualInversion(Group):
    pivotal: bool = option(
        False,
        label="Teach new words too",
        section=SECTION,
        help="Pivotal tuning: train the LoRA and the words that call it together. A word of its own holds what the "
        "pictures have in common, so a smaller LoRA does, and ordinary words keep their meaning.",
        source="the pivot of Roich et al. 2021, arXiv:2106.05744, is the word",
        also=("Pivotal tuning", "Trigger word"),
        methods=("lora",),
        ours=True,
    )
    words_lr: float = option(
        5e-4,
        ge=0,
        label="Learning rate of new words",
        section=SECTION,
        help="Words usually learn at 5 to 10 times the rate of the LoRA.",
        applies_when=BESIDE_A_LORA,
        methods=("lora",),
        ours=True,
    )
    save_words: Literal["as files", "in the LoRA file", "both"] = option(
        "as files",
        label="Save new words",
        section=SECTION,
        help="As files of their own, NAME-WORD, which every program reads; or in the LoRA file, where A1111 and Forge "
        "find them, and with which diffusers does not load it.",
        applies_when=BESIDE_A_LORA,
        methods=("lora",),
        ours=True,
    )
    token_string: str = option(
        "",
        label="Token string",
        section=SECTION,
        help="The new word to teach, or several, with commas between; none that the text encoder already knows as a "
        "single token. Write it in the captions. Other programs call the word by its file's name; further words get "
        "files of their own, NAME-WORD.",
        source="Gal et al. 2022, arXiv:2208.01618",
        also=("Trigger word",),
        methods=("textual_inversion",),
        acts_for=("textual_inversion", "lora"),
        applies_when=BESIDE_A_LORA,
        also_when=ALONE,
    )
    init_word: str = option(
        "*",
        label="Init word",
        section=SECTION,
        help="An existing word to start from, such as cat. If it is of fewer tokens than Vectors, they are repeated.",
        methods=("textual_inversion",),
        acts_for=("textual_inversion", "lora"),
        applies_when=BESIDE_A_LORA,
        also_when=ALONE,
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
        also=("Vectors per token",),
        methods=("textual_inversion",),
        acts_for=("textual_inversion", "lora"),
        applies_when=BESIDE_A_LORA,
        also_when=ALONE,
    )
    embedding_weights: str = option(
        "",
        widget="path",
        label="Resume TI training (Optional. Path to existing TI embedding file to keep training)",
        section=SECTION,
        kohya="weights",
        help="A trained embedding file to continue from.",
        methods=("textual_inversion",),
        acts_for=("textual_inversion", "lora"),
        applies_when=BESIDE_A_LORA,
        also_when=ALONE,
    )
    caption_template: Literal["caption", "object template", "style template"] = option(
        "caption",
        label="Template",
        section=SECTION,
        kohya="template",
        help="Describe the pictures with their own captions, or with sentences about the word as an object or a style, "
        "of which one is drawn each time.",
        methods=("textual_inversion",),
        acts_for=("textual_inversion", "lora"),
        applies_when=BESIDE_A_LORA,
        also_when=ALONE,
    )
    dreamartist: bool = option(
        False,
        label="DreamArtist",
        section=SECTION,
        help="Teach two words from as little as one picture: one for what it shows, and one for what it does not, for "
        "the negative prompt. Each step is guided from the second to the first, as pictures are drawn.",
        source="Dong et al. 2022, arXiv:2211.11337",
        also=("Positive and negative embedding",),
        methods=("textual_inversion",),
        ours=True,
    )
    dreamartist_guidance: float = option(
        5.0,
        ge=1,
        le=30,
        label="Guidance in training",
        section=SECTION,
        help="How strongly a step is guided from the negative word to the positive one. Draw with the same CFG scale.",
        applies_when={"dreamartist": (True,)},
        methods=("textual_inversion",),
        ours=True,
    )
    negative_init_word: str = option(
        "*",
        label="Negative init word",
        section=SECTION,
        help="An existing word for the negative one to start from.",
        applies_when={"dreamartist": (True,)},
        methods=("textual_inversion",),
        ours=True,
    )
    negative_vectors: int = option(
        3,
        ge=1,
        le=75,
        label="Negative vectors",
        section=SECTION,
        help="How many tokens the negative word uses; as many as the positive one or some more are usual.",
        applies_when={"dreamartist": (True,)},
        methods=("textual_inversion",),
        ours=True,
    )
    stop_text_encoder_training_pct: int = option(
        0,
        ge=-1,
        le=100,
        step=1,
        widget="slider",
        label="Stop TE (% of total steps)",
        section=SECTION,
        help="Stop TE, under the key kohya_ss's Textual inversion tab uses.",
        standing=idle("Textual inversion teaches the text encoder alone, all the way."),
        methods=("textual_inversion",),
    )

    def words(self) -> list[str]:
        """Those that Token string names, in order."""
        return [word.strip() for word in self.token_string.split(",") if word.strip()]
