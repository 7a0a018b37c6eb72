"""A run that has just been started is never taken for dead."""

from __future__ import annotations

from tests.reliability.starts import start_many


def test_a_run_that_lives_is_never_said_to_be_dead():
    watcher = start_many(40)
    assert watcher.looks > 40
    assert watcher.died == set()
