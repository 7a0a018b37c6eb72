"""Caching on disk, killed while it writes, and in two runs at once: real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.batches import MicroBatch
from engine.data.pictures import read_picture
from tests.data.cachers import FLUX, KILLED_AT, latents_of
from tests.pictures import draw_pictures

ROOT = Path(__file__).parents[2]
PICTURES = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "1_a", PICTURES, caption=False)


def told(folder: Path, happens: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.data.cachers", str(folder), happens]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def assert_right(folder: Path, *sides: int, **form: Any) -> None:
    """Every picture's latents are those of the picture."""
    for side in sides:
        latents = latents_of(folder, side=side, **form)
        assert not latents.lacking()
        shown = latents.shown(latents.read(MicroBatch(tuple(range(PICTURES)), 1.0, 7, 1, 0))).latents.numpy()
        for source, kept in zip(latents._sources, shown, strict=True):
            pixels = read_picture(source.picture, source.place).numpy()
            expected = pixels.reshape(3, side // 8, 8, side // 8, 8).mean((2, 4))
            np.testing.assert_allclose(kept, expected, atol=1e-5)


def test_after_kills_in_the_middle_of_writing_nothing_is_broken_and_nothing_is_done_twice(folder: Path):
    states = told(folder, "killed")
    assert len(states) == len(KILLED_AT) + 1
    for before, after in pairwise(states):
        assert before["files"].items() <= after["files"].items()  # the very same files
        assert before["half"]  # it was in the middle of one
    finished = len(states[-2]["files"])
    assert 0 < finished < PICTURES
    assert (states[-1]["encoded"], len(states[-1]["files"])) == (PICTURES - finished, PICTURES)
    assert_right(folder, 64)
    assert not [file for file in folder.iterdir() if file.suffix == ".new"]


def test_two_runs_at_once_leave_whole_files_and_both_sizes_of_those_that_they_share(folder: Path):
    (after,) = told(folder, "beside")
    assert (len(after["files"]), after["half"]) == (2 * PICTURES, [])  # each form has its own
    assert after["lacking"] == [0, 0]
    assert_right(folder, 64)
    assert_right(folder, 64, 32, form=FLUX)
