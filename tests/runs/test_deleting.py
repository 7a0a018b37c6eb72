"""Deleting a run takes what is the run's, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.disk import aside
from engine.runs.deleting import delete
from engine.runs.events import Finished, Started
from engine.runs.folder import PARTS, RunFolder, RunIsHeld, all_runs


@pytest.fixture
def run() -> RunFolder:
    """One of which every part is there."""
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started(), Finished(how="done"))
    run.rename("My cat")
    for part in PARTS:
        if not (run.path / part).exists():
            if part in ("state", "previews", "drafts"):
                (run.path / part / "inner").mkdir(parents=True)
                (run.path / part / "inner" / "file").write_text("words")
            else:
                (run.path / part).write_text("")
    return run


def test_nothing_of_it_is_left(run: RunFolder):
    other = RunFolder.create("train", "{}", "dog")
    assert delete(run) == []
    assert not run.path.exists()
    assert list(all_runs()) == [other]


def test_what_else_lies_in_the_folder_stays(run: RunFolder):
    """Somebody may have chosen it as the output folder."""
    (run.path / "model").mkdir()
    (run.path / "model" / "cat.safetensors").write_text("weights")
    (run.path / "notes.txt").write_text("mine")
    assert delete(run) == ["model", "notes.txt"]
    assert (run.path / "model" / "cat.safetensors").read_text() == "weights"
    assert sorted(path.name for path in run.path.iterdir()) == ["model", "notes.txt"]
    assert list(all_runs()) == []


def test_a_link_is_removed_and_not_what_it_leads_to(run: RunFolder, tmp_path: Path):
    elsewhere = tmp_path / "large disk"
    (run.path / "state").rename(elsewhere)
    (run.path / "state").symlink_to(elsewhere)
    assert delete(run) == []
    assert (elsewhere / "inner" / "file").read_text() == "words"


def test_it_is_refused_while_an_engine_works_on_the_run(run: RunFolder):
    before = sorted(path.name for path in run.path.iterdir())
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *run.work_arguments()])
    try:
        run.set_process(child.pid, 0)
        with pytest.raises(RunIsHeld):
            delete(run)
    finally:
        child.kill()
        child.wait()
    with run.held(), pytest.raises(RunIsHeld):
        delete(run)
    assert sorted(path.name for path in run.path.iterdir()) == before
    assert delete(run) == []


def test_a_state_that_was_being_replaced_does_not_come_back(run: RunFolder):
    """What a killed engine left in the middle of that."""
    left = aside(run.state_folder, "old")
    run.state_folder.rename(left.with_name(left.name.replace(f".{os.getpid()}-", f".{2**22 + 1}-")))
    assert delete(run) == []


class TestNames:
    def test_a_run_is_called_what_somebody_called_it(self, run: RunFolder):
        run.rename("  My\n  black\tcat\0 ")
        assert run.title == "My black cat"
        assert run.name != "My black cat"  # it is known by its folder all the same
        run.rename("x" * 500)
        assert run.title == "x" * 80

    @pytest.mark.parametrize("nothing", ["", " \n\t", "\0"])
    def test_nothing_is_its_own_name_again(self, run: RunFolder, nothing: str):
        run.rename(nothing)
        assert run.title == run.name
        assert not (run.path / "name.json").exists()
        run.rename(nothing)

    @pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"name": ""}', '"text"', "\xff"])
    def test_a_damaged_name_is_none(self, run: RunFolder, damage: str):
        (run.path / "name.json").write_text(damage, encoding="latin-1")
        assert run.title == run.name


def test_a_run_whose_folder_is_a_link_goes_with_the_link(runs: Path, tmp_path: Path):
    elsewhere = RunFolder.create("train", "{}", "shapes", root=tmp_path / "elsewhere")
    runs.mkdir(exist_ok=True)
    link = runs / elsewhere.name
    link.symlink_to(elsewhere.path, target_is_directory=True)
    assert delete(RunFolder(link)) == []
    assert not link.is_symlink()


def test_a_run_that_is_gone_does_not_come_back_with_a_name(runs: Path):
    run = RunFolder.create("train", "{}", "shapes")
    delete(run)
    with pytest.raises(FileNotFoundError):
        run.rename("another")
    assert not run.path.exists()
