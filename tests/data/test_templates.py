"""Sentences about a new word in place of captions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.data.captions import Moment, varied
from engine.data.items import Item, Subset
from engine.data.templates import SENTENCES, described_by_template
from engine.settings.captions import Captions
from engine.settings.training import TrainingSettings


def drawn(**changes: object) -> set[str]:
    """What a picture is shown with."""
    settings = TrainingSettings().with_values(changes)
    item = Item(Path("a.png"), "x", 1, subset=Subset.of(settings))
    (told,) = described_by_template("object template", "zig", [item])
    captions: Captions = told.subset.captions
    assert told.caption is not None
    return {varied(told.caption, captions, Moment(step=number), random.Random(number)) for number in range(400)}


def test_every_sentence_is_drawn():
    assert drawn() == {sentence.format("zig") for sentence in SENTENCES["object template"]}


@pytest.mark.parametrize(("wildcards", "said"), [(False, {"{x|y}"}), (True, {"x", "y"})])
def test_what_stands_around_captions_stands_around_each(wildcards: bool, said: set[str]):
    found = drawn(caption_prefix="best {x|y},", caption_suffix="[end]", enable_wildcard=wildcards)
    sentences = [sentence.format("zig") for sentence in SENTENCES["object template"]]
    assert found == {f"best {one}, {sentence} [end]" for sentence in sentences for one in said}


def test_a_sentence_stays_whole_and_is_dropped_as_captions_are():
    assert drawn(caption_tag_dropout_rate=0.9, shuffle_caption=True, token_warmup_step=5) == drawn()
    assert "" in drawn(caption_dropout_rate=0.5)
