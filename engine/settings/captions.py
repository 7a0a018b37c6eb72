"""What happens to a caption before it is read."""

from __future__ import annotations

from typing import Literal

from engine.settings.kin import EVERY_METHOD
from engine.settings.option import Group, idle, option

ADVANCED = "Parameters/Advanced"
FURTHER = "Parameters/Advanced/Captions"


class Captions(Group):
    shuffle_caption: bool = option(
        False,
        label="Shuffle caption",
        section=ADVANCED,
        help="Shuffle the comma-separated parts of a caption each time, so that no tag counts more just because it "
        "comes first.",
        also=("shuffle captions",),
    )
    keep_tokens: int = option(
        0,
        ge=0,
        label="Keep n tokens",
        section=ADVANCED,
        help="How many parts at the start of a caption stay in place when it is shuffled; 1 keeps a trigger word in "
        "front.",
        also=("Keep N Tokens",),
    )
    caption_dropout_every_n_epochs: int = option(
        0,
        ge=0,
        label="Dropout caption every n epochs",
        section=ADVANCED,
        help="Train one epoch without captions every N epochs; 0 for never.",
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
        help="Share of pictures, from 0 to 1, trained without their caption. A little of it helps classifier-free "
        "guidance.",
        source="Ho & Salimans 2022, arXiv:2207.12598",
        also=("Rate Caption Drop",),
    )
    max_token_length: Literal["75", "150", "225"] = option(
        "75",
        label="Max Token Length",
        section=ADVANCED,
        help="How many tokens of a caption are used; a token is a short word or part of a word. Longer captions are "
        "cut off.",
    )
    weighted_captions: bool = option(
        False,
        label="Weighted captions",
        section=ADVANCED,
        help="Treat (word:1.3), (word) and [word] in captions as emphasis; write \\( and \\) for literal parentheses. "
        "Only for models whose only text encoders are CLIP.",
        applies_when={"flux1_checkbox": (False,), "sd3_checkbox": (False,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    no_token_padding: bool = option(
        False,
        label="No token padding",
        section=ADVANCED,
        help="Do not pad captions shorter than 75 tokens.",
        standing=idle(
            "It mimicked an early DreamBooth script, and sd-scripts ignores it too: captions are always padded, as "
            "the models expect."
        ),
        also=("Token Padding",),
        methods=("dreambooth", "textual_inversion"),
    )
    caption_prefix: str = option(
        "",
        label="Caption prefix",
        section=FURTHER,
        help="Text added before every caption, followed by a space; for example a trigger word and a comma.",
        ours=True,
    )
    caption_suffix: str = option(
        "",
        label="Caption suffix",
        section=FURTHER,
        help="Text added after every caption, preceded by a space.",
        ours=True,
    )
    enable_wildcard: bool = option(
        False,
        label="Wildcards",
        section=FURTHER,
        help="Pick one of {red|blue} in a caption each time, and one line of a caption with several lines; write {{ "
        "and }} for literal braces.",
        also=("Enable wildcard",),
        ours=True,
    )
    caption_separator: str = option(
        ",",
        label="Caption separator",
        section=FURTHER,
        help="What separates the parts of a caption. Shuffled parts are joined with it and a space.",
        ours=True,
    )
    keep_tokens_separator: str = option(
        "",
        label="Keep tokens separator",
        section=FURTHER,
        help="A marker, such as |||. Everything before it stays in front when the caption is shuffled, whatever Keep "
        "n tokens says; everything after a second marker stays at the end.",
        ours=True,
    )
    secondary_separator: str = option(
        "",
        label="Secondary separator",
        section=FURTHER,
        help="A separator, such as ;;;, for parts that are shuffled and dropped together; afterwards it is replaced "
        "by the caption separator.",
        ours=True,
    )
    caption_tag_dropout_rate: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Rate of tag dropout",
        section=FURTHER,
        help="Share of a caption's parts, from 0 to 1, dropped at random each time; parts kept in front are never "
        "dropped.",
        ours=True,
    )
    token_warmup_min: int = option(
        1,
        ge=0,
        label="Token warmup minimum",
        section=FURTHER,
        help="How many parts of a caption are used at the first step of a token warmup.",
        ours=True,
    )
    token_warmup_step: float = option(
        0,
        ge=0,
        label="Token warmup steps",
        section=FURTHER,
        help="Over how many steps captions grow from Token warmup minimum to their full length. Below 1 it is a share "
        "of all steps; 0 turns it off.",
        ours=True,
    )
