"""A disk that is full, to the last byte, ends a run in one sentence, and costs nothing that was kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine import begin
from engine.disk import DiskFull
from engine.jobs import JOBS
from engine.runs import process
from engine.runs.events import Problem
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.worker import explain

MEGABYTES = 256
LONG = {"epoch": 4, "save_precision": "float", "save_every_n_epochs": 0, "save_every_n_steps": 10}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be made by the system's administrator, and on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, but: int = 0) -> Path:
    """To the last byte, or so that some bytes are free."""
    filler, left = disk / "filler", shutil.disk_usage(disk).free - but
    with filler.open("wb", buffering=0) as stream:
        stream.write(bytes(left))
        while not but and shutil.disk_usage(disk).free:
            stream.write(b"0")
    return filler


def ended(run: RunFolder) -> History:
    assert process.wait(run, 300), run.log_tail()
    return History(run).update()


def assert_same_bits(folder: Path, name: str, other: str) -> None:
    one, two = (load_file(folder / f"{each}.safetensors") for each in (name, other))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("left", [0, 50_000])
def test_of_the_results(start_run, trained, disk: Path, left: int):
    out = disk / "out"
    trained(output_name="alone", output_dir=str(out), **LONG)
    before, filler = set(out.iterdir()), fill(disk, left)
    run = start_run(output_name="cat", output_dir=str(out), **LONG)
    history = ended(run)
    assert (history.status, history.problem.option) == ("failed", "output_dir")
    assert history.problem.what.startswith(f'The disk is full: "cat-step00000010.safetensors" in "{out}" needs about ')
    assert history.problem.mend == "Free up some space there, then press Resume."
    assert history.state_step == 10
    assert set(out.iterdir()) == before
    with pytest.raises(begin.CannotResume, match="is needed"):
        begin.resume(run)
    filler.unlink()
    begin.resume(run)
    assert ended(run).status == "done"
    assert (out / "cat-step00000010.safetensors").exists()
    assert_same_bits(out, "cat", "alone")


def test_of_the_runs(start_run, trained, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained(output_name="alone", **LONG)
    monkeypatch.setenv("DARKROOM_RUNS", str(disk / "runs"))
    run = start_run(output_name="cat", **LONG)
    history, until = History(run), time.monotonic() + 300
    while history.update().state_step is None:
        assert time.monotonic() < until, run.log_tail()
        time.sleep(0.05)
    filler = fill(disk)
    history = ended(run)
    assert history.status == "failed", run.log_tail()
    assert history.problem.what.startswith("The disk is full: ")
    assert str(disk) in history.problem.what
    with pytest.raises(begin.CannotResume, match=r"disk|needed"):
        begin.resume(run)
    filler.unlink()
    begin.resume(run)
    assert ended(run).status == "done"
    assert_same_bits(tmp_path / "out", "cat", "alone")


def test_before_a_run_can_even_be_made(settings, disk: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DARKROOM_RUNS", str(disk / "runs"))
    (disk / "runs").mkdir()
    monkeypatch.setattr("engine.check.check.check_output", lambda *_: [])  # whose estimate would be first to say it
    fill(disk)
    checked, run = begin.begin(settings)
    assert run is None
    assert checked.problems[-1].what.startswith('The disk is full: "settings.json" in ')
    assert not list((disk / "runs").iterdir())


class TestWords:
    """What a run says of errors that came from a full disk."""

    def explained(self, error: BaseException, run: RunFolder) -> Problem:
        return explain(error, JOBS["train"], run)

    @pytest.fixture
    def run(self) -> RunFolder:
        return RunFolder.create("train", "{}", "cat")

    def test_a_result(self, run: RunFolder, tmp_path: Path):
        told = self.explained(DiskFull(tmp_path / "cat.safetensors", 3_200_000_000, 400_000_000), run)
        assert told.what == (
            f'The disk is full: "cat.safetensors" in "{tmp_path}" needs about 3.2 GB, but only 400.0 MB is free.'
        )
        assert told.option == "output_dir"

    def test_the_runs_own_state_leads_to_no_field(self, run: RunFolder):
        assert self.explained(DiskFull(run.state_folder, 3_200_000_000, 0), run).option == ""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (OSError(28, "No space left on device", "/x/sample.png"), '"/x/sample.png" cannot be written'),
            (OSError(28, os.strerror(28)), "nothing more can be written"),
            (RuntimeError("I/O error: No space left on device (os error 28)"), "nothing more can be written"),
        ],
    )
    def test_whatever_else(self, run: RunFolder, error: Exception, words: str):
        told = self.explained(error, run)
        assert words in told.what
        assert "bug in the program" not in told.mend
