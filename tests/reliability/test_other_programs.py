"""The search among other programs' words, a few tries of it."""

from __future__ import annotations

from tests.reliability.other_programs import search


def test_nothing_is_found_in_a_few_tries():
    assert not search(tries=40, seed=1)
