"""What comes back from the browser may be anything."""

from __future__ import annotations

import pytest

from ui.kept import read, written


@pytest.mark.parametrize("value", [None, {"epoch": 3, "words": "über <b>"}, ["a", None], ""])
def test_what_was_written_is_read(value):
    assert read(written(value)) == value


@pytest.mark.parametrize("text", ["", "{", "nothing", "[" * 100_000], ids=["empty", "cut", "words", "deep"])
def test_what_is_no_json_is_nothing(text: str):
    assert read(text) is None
