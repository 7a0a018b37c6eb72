"""A few kills of the harness that strikes everywhere: `python -m tests.reliability.kills` has more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.reliability.kills import Kill, Scenario, Tally, torment, torment_all


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch):
    """The harness sets where runs lie for each of its own."""
    monkeypatch.setenv("DARKROOM_RUNS", "")


def test_killed_anywhere_runs_go_on_to_the_same_bits_and_leave_nothing(tmp_path: Path):
    tally = torment_all(3, seed=3, folder=tmp_path, names=["lora"])
    assert tally.faults == []
    assert tally.kills == 3


def test_the_harness_sees_what_is_left_and_what_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scenario, tally = Scenario("short", tmp_path / "short"), Tally()
    scenario.learn()
    monkeypatch.setattr(Scenario, "any_kill", lambda *_: Kill("stage", 0.0, "loading"))
    scenario.alone.files |= {"out/shapes.safetensors": "other", "out/more": "lacks"}
    del scenario.alone.files["runs/RUN/job.json"]
    torment(scenario, random.Random(1), 1, tally)
    assert tally.kills == 1
    (fault,) = tally.faults
    for told in ("out/shapes.safetensors has other bits", "out/more is lacking", "runs/RUN/job.json is left over"):
        assert told in fault
