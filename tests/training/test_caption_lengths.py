"""Captions that are cut off are counted and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.items import Item, Subset
from engine.models.conditioning import CaptionLimit, Reading
from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.captions import Captions
from engine.training.caption_lengths import token_counts, truncated
from tests.models.loading import loaded


@pytest.fixture(scope="module")
def model() -> tuple[Family, Parts]:
    return loaded()


def items(count: int, **settings: object) -> list[Item]:
    subset = Subset(captions=Captions(**settings))
    return [Item(Path(f"img/1_cat/{number}.png"), "", 1, subset=subset) for number in range(count)]


def words(model: tuple[Family, Parts], tokens: int) -> str:
    """A caption of so many tokens."""
    assert token_counts(model[1].tokenizers[0], ["a"]) == [1]
    return " ".join(["a"] * tokens)


def test_captions_of_more_than_75_tokens_are_told_with_the_longest(model: tuple[Family, Parts]):
    limit = model[0].caption_limit(model[1], Reading())
    captions = [words(model, tokens) for tokens in (75, 76, 80, 78, 77, 1)]
    assert truncated(limit, items(6), captions, weighted=False) == (
        "4 of 6 captions are longer than the limit of 75 tokens; the rest is cut off. "
        'The longest: "1_cat/2.png" (80), "1_cat/3.png" (78), "1_cat/4.png" (77). Max Token Length raises the limit.'
    )
    wide = model[0].caption_limit(model[1], Reading(1, 225))
    assert truncated(wide, items(6), captions, weighted=False) == ""
    assert "Max Token Length" not in truncated(wide, items(1), [words(model, 226)], weighted=False)


def test_what_is_counted_is_the_caption_as_it_is_shown(model: tuple[Family, Parts]):
    limit = model[0].caption_limit(model[1], Reading())
    long = [words(model, 75)]
    assert "(76)" in truncated(limit, items(1, caption_prefix="a"), long, weighted=False)
    assert truncated(limit, items(1, enable_wildcard=True), ["{" + long[0] + "|" + long[0] + "}"], False) == ""
    assert truncated(limit, items(1), [long[0] + "\n" + long[0]], False) == ""
    # A part that a dropout would leave out counts all the same.
    thinned = items(1, caption_tag_dropout_rate=1.0, token_warmup_step=100)
    assert truncated(limit, thinned, [words(model, 60) + ", " + words(model, 60)], False)
    assert "(77)" in truncated(limit, items(1), ["(" + long[0] + ")"], weighted=False)
    assert truncated(limit, items(1), ["(" + long[0] + ")"], weighted=True) == ""


def test_the_limit_of_a_text_encoder_without_an_option_has_no_advice(model: tuple[Family, Parts]):
    limit = CaptionLimit(model[1].tokenizers[0], 3, "")
    assert truncated(limit, items(1), [words(model, 4)], weighted=False).endswith('"1_cat/0.png" (4).')
