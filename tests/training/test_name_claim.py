"""Two runs never write results of one name at once, and no name leads out of the output folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.check.output import check_output
from engine.data.output_names import place_of, why_no_name
from engine.failure import Failure
from engine.runs import process
from engine.runs.history import History
from engine.settings.folders import Folders
from engine.settings.training import TrainingSettings
from engine.training.name_claim import name_claimed

ROOT = Path(__file__).parents[2]


def folders(output: Path, name: str = "cat") -> Folders:
    return Folders(output_dir=str(output), output_name=name)


def another_process_may(output: Path, name: str) -> bool:
    code = (
        "import sys; from engine.settings.folders import Folders; from engine.training.name_claim import name_claimed\n"
        "with name_claimed(Folders(output_dir=sys.argv[1], output_name=sys.argv[2])): pass"
    )
    told = subprocess.run([sys.executable, "-c", code, str(output), name], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0 or "Another run is still writing files named" in told.stderr, told.stderr
    return told.returncode == 0


def test_a_name_is_one_runs_at_a_time_however_it_is_written(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with name_claimed(folders(tmp_path / "out")):
        assert not another_process_may(tmp_path / "out", "cat")
        assert not another_process_may(tmp_path / "link", "CAT")
        assert not another_process_may(tmp_path / "out" / ".." / "out", "cat")
        assert another_process_may(tmp_path / "out", "dog")
        assert another_process_may(tmp_path / "other", "cat")
    assert another_process_may(tmp_path / "out", "cat")
    assert not list(tmp_path.glob("out/*"))


def test_of_two_runs_that_are_started_at_once_one_is_refused(start_run):
    first, second = (start_run(epoch=6) for _ in range(2))
    told = []
    for run in (first, second):
        assert process.wait(run, 300), run.log_tail()
        told.append(History(run).update())
    assert sorted(history.status for history in told) == ["done", "failed"]
    refused = next(history for history in told if history.status == "failed")
    assert "Another run is still writing files" in refused.problem.what
    assert refused.problem.option == "output_name"


@pytest.mark.parametrize("name", [".", "..", "...", ". .", "a/b", "a\\b", "", " ", "a\nb", "a:b"])
def test_what_is_no_name_is_refused_by_check_and_engine(settings: TrainingSettings, tmp_path: Path, name: str):
    told = settings.for_method("dreambooth").with_values({"output_name": name, "save_model_as": "diffusers"})
    (problem,) = check_output(told, None, ())
    assert (problem.option, problem.blocking) == ("output_name", True)
    with (
        pytest.raises(Failure, match=r"cannot be a file name|names a folder"),
        name_claimed(told.folders),
    ):
        raise AssertionError


@pytest.mark.parametrize("name", ["cat", "v1.5", ".hidden", "a.b.", "café", "con"])
def test_what_is_a_name_stays_one(name: str):
    assert why_no_name(name) == "" or os.name == "nt"


def test_names_that_windows_does_not_keep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.data.output_names.os.name", "nt")
    refused = ["cat.", "cat ", "con", "NUL.v1", "com1", "Lpt9.safetensors"]
    kept = ["contour", "com10", "null", "cat"]
    assert all(why_no_name(name) for name in refused)
    assert not any(why_no_name(name) for name in kept)


def test_places_are_alike_where_their_files_are(tmp_path: Path):
    assert place_of(folders(tmp_path, "Cat")) == place_of(folders(tmp_path / "." / "x" / "..", "cat"))
    assert place_of(folders(tmp_path, "cat")) != place_of(folders(tmp_path / "cat", "cat"))
