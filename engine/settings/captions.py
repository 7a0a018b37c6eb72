"""What happens to a caption before it is read."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, idle, option
from engine.settings.waiting import CAPTIONS

ADVANCED = "Parameters/Advanced"


class Captions(Group):
    shuffle_caption: bool = option(
        False,
        label="Shuffle caption",
        section=ADVANCED,
        help="Put the parts of a caption between commas in another order each time, so that none counts more for "
        "standing first.",
        standing=CAPTIONS,
        also=("shuffle captions",),
    )
    keep_tokens: int = option(
        0,
        ge=0,
        le=32,
        step=1,
        widget="slider",
        label="Keep n tokens",
        section=ADVANCED,
        help="So many of the first parts of a caption stay in front when it is shuffled; 1 keeps a trigger word there.",
        standing=CAPTIONS,
        also=("Keep N Tokens",),
    )
    caption_dropout_every_n_epochs: int = option(
        0,
        label="Dropout caption every n epochs",
        section=ADVANCED,
        help="Every so many epochs one is trained without captions; 0 for never.",
        standing=CAPTIONS,
        also=("Dropout Caption Every N Epoch",),
    )
    caption_dropout_rate: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Rate of caption dropout",
        section=ADVANCED,
        help="Share of the pictures that are shown without their caption, from 0 to 1. A little helps classifier-free "
        "guidance.",
        source="Ho & Salimans 2022, arXiv:2207.12598",
        standing=CAPTIONS,
        also=("Rate Caption Drop",),
    )
    max_token_length: Literal["75", "150", "225"] = option(
        "75",
        label="Max Token Length",
        section=ADVANCED,
        help="How many tokens of a caption are read; a token is a short word or part of one. What is longer is cut "
        "off.",
    )
    weighted_captions: bool = option(
        False,
        label="Weighted captions",
        section=ADVANCED,
        help="Read (word:1.3) in captions as emphasis.",
        standing=CAPTIONS,
        methods=("dreambooth", "lora", "finetune"),
    )
    no_token_padding: bool = option(
        False,
        label="No token padding",
        section=ADVANCED,
        help="Leave captions that are shorter than 75 tokens at their length.",
        standing=idle(
            "It imitates an early DreamBooth script that left short captions unfilled; here captions are always "
            "filled up, as the models expect."
        ),
        also=("Token Padding",),
        methods=("dreambooth", "textual_inversion"),
    )
