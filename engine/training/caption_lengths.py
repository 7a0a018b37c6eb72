"""Which captions are longer than the model's token limit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from engine.data.captions import Moment, worded
from engine.data.items import Item
from engine.models.conditioning import CaptionLimit
from engine.models.emphasis import weighted_parts
from engine.settings.captions import Captions
from engine.settings.training import training_options

SHOWN = 3
AT_A_TIME = 1024


def truncated(limit: CaptionLimit, items: Sequence[Item], captions: Sequence[str], weighted: bool) -> str:
    """A sentence on the captions that are cut off, with the longest as examples; "" where none is."""
    texts = [_whole(caption, item.subset.captions) for item, caption in zip(items, captions, strict=True)]
    if weighted:
        texts = ["".join(text for text, _ in weighted_parts(caption)) for caption in texts]
    lengths = token_counts(limit.tokenizer, texts)
    long = sorted((length, index) for index, length in enumerate(lengths) if length > limit.tokens)
    if not long:
        return ""
    examples = ", ".join(
        f'"{items[index].picture.parent.name}/{items[index].picture.name}" ({length})'
        for length, index in long[: -SHOWN - 1 : -1]
    )
    count = f"{len(long)} of {len(lengths)} captions {'is' if len(long) == 1 else 'are'}"
    return (
        f"{count} longer than the limit of {limit.tokens} tokens; the rest is cut off. "
        f"The longest: {examples}.{_mend(limit)}"
    )


def cut_prompts(limit: CaptionLimit, prompts: Sequence[str]) -> str:
    """A sentence on prompts without pictures that are cut off; "" where none is."""
    counts = zip(token_counts(limit.tokenizer, prompts), prompts, strict=True)
    length, longest = max(counts, default=(0, ""))
    if length <= limit.tokens:
        return ""
    return (
        f'The prompt "{longest[:80]}…" has {length} tokens and the limit is {limit.tokens}; the rest is cut off.'
        f"{_mend(limit)}"
    )


def token_counts(tokenizer: Any, captions: Sequence[str]) -> list[int]:
    """Tokens of each caption, without the start and end tokens."""
    different = list(dict.fromkeys(captions))
    counts: dict[str, int] = {}
    for begin in range(0, len(different), AT_A_TIME):
        some = different[begin : begin + AT_A_TIME]
        ids = tokenizer(some, add_special_tokens=False, truncation=False, verbose=False).input_ids
        counts |= {caption: len(tokens) for caption, tokens in zip(some, ids, strict=True)}
    return [counts[caption] for caption in captions]


def _whole(caption: str, settings: Captions) -> str:
    """One wording of the caption with all its parts."""
    all_parts = settings.model_copy(update={"caption_tag_dropout_rate": 0.0, "token_warmup_step": 0.0})
    return worded(caption, all_parts, Moment(), random.Random(0))


def _mend(limit: CaptionLimit) -> str:
    """The option that raises the limit, if there is one."""
    for item in training_options():
        if item.name == limit.option:
            most = max(map(int, item.choices)) if item.choices else item.at_most
            return f" {item.label} raises the limit." if most is None or limit.tokens < most - 1 else ""
    return ""
