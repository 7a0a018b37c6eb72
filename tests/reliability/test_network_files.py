"""A few dozen of the searched files, always the same ones."""

from __future__ import annotations

from tests.reliability.network_files import search


def test_check_and_engine_agree_and_nothing_is_lost():
    outcomes = search(60, seed=1)
    assert sum(outcomes.values()) == 60
    assert min(outcomes["begun from whole"], outcomes["refused by both"]) > 5
