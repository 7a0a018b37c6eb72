"""Scoring a folder: where the scores go, which pictures are passed over, and how a run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from engine.check.utility import check_utility
from engine.data.scores import score_of
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.tools.scorers import DEVIATION, MEAN, OnnxScorer
from tests.tools.running import run_job, settings_of
from tests.tools.small_scorers import linear, save_clip, save_head, save_onnx

JOB = "score-pictures"
LEVELS = {"dark": 0, "middle": 128, "light": 255}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, level in LEVELS.items():
        Image.new("RGB", (20, 12), (level, 0, 0)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def onnx(tmp_path: Path) -> dict[str, str]:
    return {"kind": "ONNX", "onnx_file": str(save_onnx(tmp_path / "scorer.onnx"))}


def red(level: float) -> float:
    """The score of a picture by save_onnx()'s model: the mean of its red, as CLIP has it, to four digits."""
    return round((level / 255 - MEAN[0]) / DEVIATION[0], 4)


def scores(folder: Path) -> dict[str, float | None]:
    return {picture.stem: score_of(picture) for picture in folder.rglob("*.png")}


@pytest.mark.shows("score-pictures.train_data_dir", "score-pictures.kind", "score-pictures.onnx_file")
def test_scores_stand_beside_the_pictures_and_are_told_together(folder: Path, onnx: dict[str, str]):
    (folder / "broken.png").write_bytes(b"no picture")
    outcome, history = run_job(JOB, train_data_dir=str(folder), **onnx)
    assert outcome == ("done", 3)
    assert scores(folder) == {"broken": None, **{name: red(level) for name, level in LEVELS.items()}}
    assert [result.text for result in history.results] == [
        "3 scores written, 1 left out.",
        f"Scores of 3 pictures: {red(0):.2f} to {red(255):.2f}, {sum(map(red, LEVELS.values())) / 3:.2f} on average.",
    ]
    assert [Path(left.file).name for left in history.left_out] == ["broken.png"]


@pytest.mark.shows("score-pictures.model_id", "score-pictures.head", "score-pictures.batch_size")
def test_clip_and_a_head_score_a_folder_alike_in_batches_of_any_size(folder: Path, tmp_path: Path):
    models = {"model_id": str(save_clip(tmp_path / "clip")), "head": str(save_head(tmp_path / "a.pth", linear()))}
    found = []
    for size in (1, 2):
        assert run_job(JOB, train_data_dir=str(folder), overwrite=True, batch_size=size, **models)[0] == ("done", 3)
        found.append(scores(folder))
    assert found[0] == pytest.approx(found[1], abs=2e-4)
    assert len(set(found[0].values())) == 3


@pytest.mark.shows("score-pictures.overwrite", "score-pictures.recursive")
def test_a_picture_that_has_a_score_is_passed_over_unless_it_is_to_be_scored_again(folder: Path, onnx: dict[str, str]):
    inner = folder / "inner"
    inner.mkdir()
    (folder / "light.png").rename(inner / "light.png")
    (folder / "dark.score").write_text("7.5")
    assert run_job(JOB, train_data_dir=str(folder), **onnx)[0] == ("done", 1)
    assert scores(folder) == {"dark": 7.5, "middle": red(128), "light": None}
    assert run_job(JOB, train_data_dir=str(folder), recursive=True, **onnx)[0] == ("done", 1)
    assert score_of(inner / "light.png") == red(255)
    run_job(JOB, train_data_dir=str(folder), overwrite=True, **onnx)
    assert score_of(folder / "dark.png") == red(0)
    assert (folder / "dark.score.bak").read_text() == "7.5"


@pytest.mark.shows("score-pictures.in_json")
def test_scores_go_into_a_metadata_file_beside_what_it_says(folder: Path, onnx: dict[str, str], tmp_path: Path):
    listed = tmp_path / "meta.json"
    before = {
        "dark": {"caption": "dark", "train_resolution": [64, 64]},
        str(folder / "light.png"): {"tags": "light", "aesthetic_score": 3},
        "gone": {"caption": "gone"},
    }
    listed.write_text(json.dumps(before))
    given = {"train_data_dir": str(folder), "in_json": str(listed), **onnx}
    outcome, history = run_job(JOB, **given)
    assert outcome == ("done", 1)
    before["dark"]["aesthetic_score"] = red(0)
    assert json.loads(listed.read_text()) == before
    assert not list(folder.glob("*.score"))
    assert (listed.with_name("meta.json.bak")).exists()
    assert "1 picture already had one, 1 left out" in history.results[0].text
    run_job(JOB, **given, overwrite=True)
    assert json.loads(listed.read_text())[str(folder / "light.png")] == {"tags": "light", "aesthetic_score": red(255)}


@pytest.mark.parametrize("listed", [False, True])
def test_a_stopped_run_keeps_what_is_done_and_goes_on_with_the_rest(
    folder: Path, onnx: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
):
    list_file = tmp_path / "meta.json"
    list_file.write_text(json.dumps({name: {} for name in LEVELS}))
    given = {
        "train_data_dir": str(folder),
        "overwrite": True,
        **onnx,
        **({"in_json": str(list_file)} if listed else {}),
    }
    settings = settings_of(JOB, **given)
    run = RunFolder.create(JOB, settings.model_dump_json(), settings.title())
    scored = OnnxScorer.scores

    def scored_and_stopped(scorer: OnnxScorer, pictures: list) -> list[float]:
        run.ask("stop")
        return scored(scorer, pictures)

    with monkeypatch.context() as during:
        during.setattr(OnnxScorer, "scores", scored_and_stopped)
        assert run_job(JOB, run, **given)[0] == ("stopped", 1)
    run.forget_process()
    # What is done is not done again, though all are to be overwritten; a list is written whole.
    assert run_job(JOB, run, **given)[0] == ("done", 3 if listed else 2)
    if listed:
        found = {name: entry["aesthetic_score"] for name, entry in json.loads(list_file.read_text()).items()}
    else:
        found = scores(folder)
    assert found == {name: red(level) for name, level in LEVELS.items()}


def test_what_cannot_be_scored_is_refused_before_the_start(folder: Path, onnx: dict[str, str], tmp_path: Path):
    def said(**values) -> dict[str, str]:
        checked = check_utility(settings_of(JOB, **{"train_data_dir": str(folder), **values}))
        return {problem.option: problem.what for problem in checked.problems}

    assert said(**onnx) == {}
    assert said(kind="ONNX") == {"onnx_file": "ONNX file is empty."}
    assert "head" in said()
    assert said(**onnx, train_data_dir=str(tmp_path)) == {"recursive": f"There are no pictures in {tmp_path}."}
    lines = tmp_path / "meta.jsonl"
    lines.touch()
    assert said(**onnx, in_json=str(lines)) == {
        "in_json": "Metadata file is meta.jsonl, but scores can only be written into a .json file."
    }
    assert said(**onnx, in_json=str(tmp_path / "none.json")) == {
        "in_json": f"There is no file {tmp_path / 'none.json'}."
    }
    lines.rename(tmp_path / "empty.json")
    with pytest.raises(Failure, match="is not valid JSON"):
        run_job(JOB, train_data_dir=str(folder), **onnx, in_json=str(tmp_path / "empty.json"))
