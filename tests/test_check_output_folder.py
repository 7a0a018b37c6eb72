"""Where no output folder is chosen, one click chooses a good one; nothing is made or written before."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.check.check import check
from engine.check.mend import mended
from engine.check.problem import Problem
from engine.settings.training import TrainingSettings


def problem_of(settings: TrainingSettings) -> Problem:
    return next(one for one in check(settings).problems if one.option == "output_dir")


def test_beside_the_pictures_as_kohya_ss_lays_folders_out(settings: TrainingSettings, tmp_path: Path):
    empty = settings.with_values({"output_dir": ""})
    problem = problem_of(empty)
    assert (problem.what, problem.blocking) == ("No output folder is chosen.", True)
    assert problem.fix == f"Choose {tmp_path / 'model'}"
    chosen = mended(problem, empty)
    assert chosen.folders.output_dir == str(tmp_path / "model")
    assert check(chosen).can_start
    assert not (tmp_path / "model").exists()


def test_else_in_a_folder_of_its_name_beside_the_runs(settings: TrainingSettings, tmp_path: Path, runs: Path):
    (tmp_path / "img").rename(tmp_path / "pictures")
    empty = settings.with_values({"output_dir": "", "train_data_dir": str(tmp_path / "pictures"), "output_name": "cat"})
    assert mended(problem_of(empty), empty).folders.output_dir == str(runs.with_name("outputs") / "cat")
    nothing = TrainingSettings()
    assert problem_of(nothing).fix == f"Choose {runs.with_name('outputs') / 'last'}"


def test_where_that_cannot_be_written_the_next_one_is_offered(settings: TrainingSettings, tmp_path: Path, runs: Path):
    empty = settings.with_values({"output_dir": ""})
    (tmp_path / "model").write_text("a file")
    assert problem_of(empty).fix == f"Choose {runs.with_name('outputs') / 'shapes'}"
    runs.with_name("outputs").write_text("a file, too")
    assert problem_of(empty).fix == ""


@pytest.mark.parametrize("name", ["../out", "a/b", ""])
def test_a_name_that_is_no_name_leads_nowhere(settings: TrainingSettings, name: str):
    empty = settings.with_values({"output_dir": "", "output_name": name})
    assert not [one for one in check(empty).problems if one.option == "output_dir"]  # the name comes first


def test_a_folder_that_was_chosen_meanwhile_stays(settings: TrainingSettings):
    problem = problem_of(settings.with_values({"output_dir": ""}))
    assert mended(problem, settings).folders.output_dir == settings.folders.output_dir
