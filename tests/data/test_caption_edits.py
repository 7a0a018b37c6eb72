"""Captions changed in bulk."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import caption_edits
from engine.data.caption_edits import ADD, DEDUPLICATE, PATTERN, REMOVE, REPLACE, SORT, TRIGGER, Edit


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (Edit(ADD, "b, c"), "a, B", "a, B, c"),
        (Edit(ADD, "b"), "", "b"),
        (Edit(TRIGGER, "sks"), "a cat, sks", "sks, a cat"),
        (Edit(TRIGGER, "sks"), "sks, a cat", "sks, a cat"),
        (Edit(REMOVE, "cat, b"), "a cat, Cat ,b,c", "a cat, c"),
        (Edit(REMOVE, "z"), "a ,b", "a ,b"),  # what has nothing to lose stays as it is written
        (Edit(REPLACE, "cat", "dog"), "a cat, cat", "a dog, dog"),
        (Edit(PATTERN, r"(\w+) cat", r"\1 dog"), "a cat", "a dog"),
        (Edit(PATTERN, r"(?i)(?P<what>CAT)", r"\g<what>!"), "a cat", "a cat!"),
        (Edit(SORT, keep=1), "sks, c, B, a", "sks, a, B, c"),
        (Edit(DEDUPLICATE), "a, b, A, c, b", "a, b, c"),
        (Edit(ADD, "x"), "one\n\ntwo", "one, x\n\ntwo, x"),
        (Edit(ADD, "x", separator=";"), "a, b; c", "a, b; c; x"),
    ],
)
def test_a_caption_is_changed(edit: Edit, before: str, after: str):
    assert not edit.problem()
    assert edit(before) == after


@pytest.mark.parametrize(
    "edit", [Edit(ADD), Edit(REPLACE, " "), Edit(PATTERN, "("), Edit(PATTERN, "a", r"\1"), Edit("something")]
)
def test_what_cannot_be_done_is_said(edit: Edit):
    assert edit.problem().endswith(".")


def test_a_pattern_that_would_take_years_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(caption_edits, "PATIENCE", 0.05)
    with pytest.raises(TimeoutError):
        Edit(PATTERN, r"(a|aa)+b(?!)")("a" * 60 + "b" * 2)


tags = st.lists(st.text("aAbc éß(_)", min_size=1, max_size=4).map(str.strip).filter(bool), max_size=6)
captions = st.lists(tags.map(", ".join), max_size=3).map("\n".join)
some_tags = st.text("aAbcé", min_size=1, max_size=3)


def tags_in(caption: str) -> Counter[str]:
    return Counter(tag.strip().casefold() for line in caption.split("\n") for tag in line.split(",") if tag.strip())


@given(captions, some_tags, st.sampled_from([ADD, TRIGGER, REMOVE, DEDUPLICATE, SORT]), st.integers(0, 3))
def test_a_change_that_is_made_already_changes_nothing_more(caption: str, text: str, kind: str, keep: int):
    edit = Edit(kind, text, keep=keep)
    assert edit(edit(caption)) == edit(caption)


@given(captions, some_tags)
def test_what_is_removed_is_gone_and_the_rest_stays(caption: str, tag: str):
    before, after = tags_in(caption), tags_in(Edit(REMOVE, tag)(caption))
    assert tag.casefold() not in after
    assert after == Counter({name: count for name, count in before.items() if name != tag.casefold()})


@given(captions, st.integers(0, 3))
def test_sorting_loses_no_tag_and_leaves_the_first(caption: str, keep: int):
    after = Edit(SORT, keep=keep)(caption)
    assert tags_in(after) == tags_in(caption)
    for old, new in zip(caption.split("\n"), after.split("\n"), strict=True):
        kept, rest = new.split(", ")[:keep], new.split(", ")[keep:]
        assert kept == old.split(", ")[:keep]
        assert rest == sorted(rest, key=str.casefold)


@given(captions, some_tags)
def test_a_tag_is_added_once_to_every_line(caption: str, tag: str):
    for line in Edit(ADD, tag)(caption).split("\n"):
        if line.strip():
            assert tag.casefold() in tags_in(line)
    triggered = Edit(TRIGGER, tag)(caption)
    assert all(line.startswith(tag) for line in triggered.split("\n") if line.strip())


@given(captions, st.text(max_size=5), st.text(max_size=5))
def test_finding_and_replacing_is_that_of_plain_text(caption: str, text: str, replacement: str):
    edit = Edit(REPLACE, text, replacement)
    if not edit.problem():
        assert edit(caption) == caption.replace(text, replacement).strip()
