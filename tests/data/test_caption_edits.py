"""Captions changed in bulk."""

from __future__ import annotations

import pytest

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
