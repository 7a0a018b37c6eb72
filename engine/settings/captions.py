"""What happens to a caption before it is read."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, idle, option

ADVANCED = "Parameters/Advanced"
FURTHER = "Parameters/Advanced/Captions"


class Captions(Group):
    shuffle_caption: bool = option(
        False,
        label="Shuffle caption",
        section=ADVANCED,
        help="Put the parts of a caption between commas in another order each time, so that none counts more for "
        "standing first.",
        also=("shuffle captions",),
    )
    keep_tokens: int = option(
        0,
        ge=0,
        label="Keep n tokens",
        section=ADVANCED,
        help="So many of the first parts of a caption stay in front when it is shuffled; 1 keeps a trigger word there.",
        also=("Keep N Tokens",),
    )
    caption_dropout_every_n_epochs: int = option(
        0,
        ge=0,
        label="Dropout caption every n epochs",
        section=ADVANCED,
        help="Every so many epochs one is trained without captions; 0 for never.",
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
        help="Read (word:1.3), (word) and [word] in captions as more or less of a word; \\( and \\) are plain "
        "brackets. For models that read captions through CLIP alone.",
        applies_when={"flux1_checkbox": (False,), "sd3_checkbox": (False,)},
        methods=("dreambooth", "lora", "finetune"),
    )
    no_token_padding: bool = option(
        False,
        label="No token padding",
        section=ADVANCED,
        help="Leave captions that are shorter than 75 tokens at their length.",
        standing=idle(
            "It imitated an early DreamBooth script, and sd-scripts no longer follows it either: captions are always "
            "filled up, as the models expect."
        ),
        also=("Token Padding",),
        methods=("dreambooth", "textual_inversion"),
    )
    caption_prefix: str = option(
        "",
        label="Caption prefix",
        section=FURTHER,
        help="Words put in front of every caption, with a space between; such as a trigger word and a comma.",
        ours=True,
    )
    caption_suffix: str = option(
        "",
        label="Caption suffix",
        section=FURTHER,
        help="Words put behind every caption, with a space between.",
        ours=True,
    )
    enable_wildcard: bool = option(
        False,
        label="Wildcards",
        section=FURTHER,
        help="Of {red|blue} in a caption one is chosen each time, and of a caption of several lines one line; {{ "
        "and }} are plain braces.",
        also=("Enable wildcard",),
        ours=True,
    )
    caption_separator: str = option(
        ",",
        label="Caption separator",
        section=FURTHER,
        help="What stands between the parts of a caption. Parts that were shuffled are joined by it and a blank.",
        ours=True,
    )
    keep_tokens_separator: str = option(
        "",
        label="Keep tokens separator",
        section=FURTHER,
        help="A mark, such as |||, before which all parts of a caption stay in front when it is shuffled, whatever "
        "Keep n tokens says; what follows a second one stays at the end.",
        ours=True,
    )
    secondary_separator: str = option(
        "",
        label="Secondary separator",
        section=FURTHER,
        help="A mark, such as ;;;, between parts that are shuffled and dropped as one; it becomes the caption "
        "separator afterwards.",
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
        help="Share of the parts of a caption that are left out each time, from 0 to 1; those kept in front stay.",
        ours=True,
    )
    token_warmup_min: int = option(
        1,
        ge=0,
        label="Token warmup minimum",
        section=FURTHER,
        help="How many parts of a caption are shown at the first step of a token warmup.",
        ours=True,
    )
    token_warmup_step: float = option(
        0,
        ge=0,
        label="Token warmup steps",
        section=FURTHER,
        help="Steps over which captions grow from Token warmup minimum to their whole length; below 1 it is a share of "
        "all steps, 0 for none.",
        ours=True,
    )
