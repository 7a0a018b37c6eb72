"""A short part of what hostile_files.py tries, with the same inputs each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.hostile_files import ATTACKS, attack

OF_EACH = {"runs": 40, "pictures": 80, "checkpoints": 40}


@pytest.mark.parametrize("name", ATTACKS)
def test_whatever_is_in_a_file_is_read_or_refused_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "kept" / "runs"))
    for seed in range(OF_EACH.get(name, 100)):
        assert attack(name, seed, tmp_path) is None
