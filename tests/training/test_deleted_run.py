"""A run whose folder is deleted while it goes on: nobody can see it or stop it any more, so it saves and ends."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine.runs import process
from engine.runs.events import Finished
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.terminal import follow
from tests.conftest import StartRun

PATIENCE = 300.0
"""Seconds; on an idle machine it takes ten."""


def wait_until(is_so: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until
        process.reap()
        time.sleep(0.1)


@pytest.mark.parametrize("moved", [False, True])
def test_its_engine_saves_what_it_has_learned_and_ends(start_run: StartRun, tmp_path: Path, moved: bool):
    run = start_run(max_train_steps=100_000)
    history = History(run)
    wait_until(lambda: history.update().done_steps >= 3)
    if moved:
        run.path.rename(tmp_path / "moved")
    else:
        shutil.rmtree(run.path)
    wait_until(lambda: not process.processes_of(run))
    assert not run.path.exists()  # and nothing of it comes back
    assert [file.suffix for file in (tmp_path / "out").iterdir()] == [".safetensors"]


def test_the_terminal_says_what_became_of_it(capsys: pytest.CaptureFixture[str]):
    run = RunFolder.create("train", "{}", "cat")
    shutil.rmtree(run.path)
    assert follow(run, run.events()) == 1
    assert f"The folder of the run {run.name} was deleted" in capsys.readouterr().err


@pytest.mark.parametrize("deleted", [False, True])
def test_a_deleted_folder_is_a_wish_to_stop(deleted: bool):
    run = RunFolder.create("train", "{}", "cat")
    control = run.control()
    assert control.take() == set()
    run.writer().write(Finished(how="done"))
    if deleted:
        shutil.rmtree(run.path)
    assert control.take() == ({"stop"} if deleted else set())
