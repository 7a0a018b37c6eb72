"""The search of captions_and_prompts.py, for a moment."""

from __future__ import annotations

from tests.reliability.captions_and_prompts import search


def test_nothing_is_passed_over_without_a_word():
    happened = search(tries=150, seed=1)
    assert sum(count for what, count in happened.items() if what.startswith("line")) == 150
    assert {"line: read", "line: refused", "file: read", "file: refused"} <= set(happened)
