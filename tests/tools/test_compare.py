"""Two captioners side by side on a few pictures."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from engine.check.utility import check_utility
from engine.failure import Failure
from engine.jobs import UTILITIES
from engine.runs.folder import RunFolder
from engine.tools import basic, compare
from engine.tools.captioning import CaptionerSettings
from tests.tools.running import run_job, settings_of
from tests.tools.small_describers import save_blip, save_git
from tests.tools.small_tagger import save_tagger
from ui import run_view

JOB = "compare-captioners"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    root = tmp_path_factory.mktemp("compared")
    return {
        "BLIP": {"model_id": str(save_blip(root / "blip")), "max_length": 6, "prefix": "photo of"},
        "GIT": {"model_id": str(save_git(root / "git")), "max_length": 6},
        "WD14": {"repo_id": str(save_tagger(root / "tagger")), "append_tags": True},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, names in (("img", "abcdef"), ("img/inner", "ab")):
        (tmp_path / place).mkdir()
        for name in names:
            Image.new("RGB", (400, 20), "white").save(tmp_path / place / f"{name}.png")
    (tmp_path / "img" / "a.txt").write_text("mine")
    return tmp_path / "img"


def given(folder: Path, models: dict, first: str = "BLIP", second: str = "WD14", **values) -> dict:
    return {
        "train_data_dir": str(folder), "first": first, "second": second, "first_options": json.dumps(models[first]),
        "second_options": json.dumps(models[second]), **values,
    }  # fmt: skip


def alone(job: str, folder: Path, **values) -> str:
    """What the captioner writes for a picture when it goes through a folder."""
    run_job(job, train_data_dir=str(folder), **values)
    return (folder / "b.txt").read_text().strip()


@pytest.mark.shows("compare-captioners.train_data_dir", "compare-captioners.first", "compare-captioners.second",
                   "compare-captioners.first_options", "compare-captioners.second_options",
                   "compare-captioners.count")  # fmt: skip
def test_each_says_what_it_would_write_and_nothing_is_written(folder: Path, models: dict, tmp_path: Path):
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    outcome, told = run_job(JOB, **given(folder, models, count=3))
    assert outcome == ("done", 3)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert [(one.place, one.file) for one in told.captioned] == [(p, f"{n}.png") for p in (0, 1) for n in "abc"]
    said = {(one.captioner, one.file): one.caption for one in told.captioned}
    assert said["WD14", "a.png"].startswith("mine, 1girl")  # Append TAGs is on in its settings
    for name in ("WD14", "BLIP"):
        assert said[name, "b.png"] == alone(compare.job_name(name), folder, **models[name], overwrite=True)
    assert all((told.run.previews_folder / one.preview).exists() for one in told.captioned)
    assert told.progress
    assert (told.progress.done, told.progress.total) == (6, 6)
    assert [result.text for result in told.results[-1:]] == [
        "3 pictures captioned by both. None of your captions were changed."
    ]


@pytest.mark.shows("compare-captioners.which", "compare-captioners.seed", "compare-captioners.recursive")
def test_the_pictures_are_the_first_or_some_by_chance(folder: Path):
    pictures = [Path(str(number)) for number in range(100)]

    def chosen(**values) -> list[Path]:
        settings = settings_of(JOB, count=5, **values)
        assert isinstance(settings, compare.Settings)
        return settings.pictures.chosen(pictures)

    assert chosen() == pictures[:5]
    assert chosen(which="random") == chosen(which="random") != chosen(which="random", seed=1)
    assert len(set(chosen(which="random"))) == 5
    found = compare.pictures_of(settings_of(JOB, train_data_dir=str(folder), recursive=True).pictures, print)
    assert len(found) == 8


def test_what_a_captioner_cannot_read_is_named_as_the_user_knows_it(folder: Path, models: dict):
    (folder / "a.png").write_bytes(b"no picture")
    _, told = run_job(JOB, **given(folder, models, count=2))
    assert {Path(one.file).name for one in told.left_out} == {"a.png"}
    assert "…" not in run_view.samples(told)


def test_a_stopped_comparison_goes_on_where_it_was(folder: Path, models: dict, monkeypatch: pytest.MonkeyPatch):
    run = RunFolder.create(JOB, "{}", "x")
    run.ask("stop")
    assert run_job(JOB, run, **given(folder, models, count=2))[0] == ("stopped", 0)
    run.forget_process()
    outcome, told = run_job(JOB, run, **given(folder, models, count=2))
    assert outcome == ("done", 2)
    assert len(told.captioned) == 4


def test_after_a_stop_captions_stand_beside_their_own_pictures_whatever_became_of_the_folder(
    folder: Path, models: dict
):
    """Of the three that were chosen, b is removed and c replaced; another comes that would be the first by name."""
    run, values = RunFolder.create(JOB, "{}", "x"), given(folder, models, count=3)
    run.ask("stop")
    assert run_job(JOB, run, **values)[0] == ("stopped", 0)
    run.forget_process()
    before = (folder / "c.png").read_bytes()
    (folder / "b.png").unlink()
    for name in ("0", "c"):
        Image.new("RGB", (20, 400), "black").save(folder / f"{name}.png")
    outcome, told = run_job(JOB, run, **values)
    assert outcome == ("done", 2)
    assert [(one.place, one.file) for one in told.captioned] == [(p, f"{n}.png") for p in (0, 1) for n in "ac"]
    said = {(one.captioner, one.file): one.caption for one in told.captioned}
    assert said["WD14", "a.png"].startswith("mine, 1girl")
    assert not said["WD14", "c.png"].startswith("mine")
    assert [(Path(one.file).name, one.why) for one in told.left_out] == [("b.png", "is not there any more")]
    for place in "01":
        copies = sorted((run.drafts_folder / place / "pictures").glob("*.png"))
        assert [file.name for file in copies] == ["000.png", "002.png"]
        assert copies[1].read_bytes() == before
    with Image.open(run.previews_folder / told.captioned[1].preview) as shown:
        assert shown.size == (320, 16)  # of what both saw, 400 × 20
    for name in ("a", "c"):
        (folder / f"{name}.png").unlink()
    with pytest.raises(Failure, match="None of the chosen pictures can be read"):
        run_job(JOB, run, **values)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("cut", [".png", ".txt"])
def test_a_copy_that_was_cut_off_is_made_anew(folder: Path, models: dict, monkeypatch: pytest.MonkeyPatch, cut: str):
    run, values, copyfile = (
        RunFolder.create(JOB, "{}", "x"),
        given(folder, models, first="GIT", count=1),
        shutil.copyfile,
    )

    def killed(source: Path, target: Path) -> None:
        if source.suffix != cut:
            copyfile(source, target)
            return
        target.write_bytes(source.read_bytes()[:3])
        raise Killed

    monkeypatch.setattr("shutil.copyfile", killed)
    with pytest.raises(Killed):
        run_job(JOB, run, **values)
    monkeypatch.setattr("shutil.copyfile", copyfile)
    outcome, told = run_job(JOB, run, **values)
    assert outcome == ("done", 1)
    assert told.captioned[1].caption.startswith("mine, 1girl")
    for place in "01":
        copy = run.drafts_folder / place / "pictures" / "000.png"
        assert copy.read_bytes() == (folder / "a.png").read_bytes()


def test_a_picture_that_cannot_be_copied_is_left_out_and_a_full_disk_is_told(
    folder: Path, models: dict, monkeypatch: pytest.MonkeyPatch
):
    copyfile = shutil.copyfile

    def fail(why: int) -> None:
        def some(source: Path, target: Path) -> None:
            if source.name == "b.png":
                raise OSError(why, os.strerror(why))
            copyfile(source, target)

        monkeypatch.setattr("shutil.copyfile", some)

    fail(errno.EACCES)
    outcome, told = run_job(JOB, **given(folder, models, count=2))
    assert outcome == ("done", 1)
    assert {one.file for one in told.captioned} == {"a.png"}
    assert [one.why for one in told.left_out] == ["cannot be copied: Permission denied"]
    fail(errno.ENOSPC)
    with pytest.raises(Failure, match="The disk is full") as refused:
        run_job(JOB, **given(folder, models, count=2))
    assert "Resume" in refused.value.mend


def test_what_is_wrong_with_a_captioner_is_told_before_the_start(folder: Path, models: dict):
    def problem(**values):
        return check_utility(settings_of(JOB, **given(folder, models) | values)).problems[0]

    same = {"second": "BLIP", "second_options": json.dumps(models["BLIP"])}
    for values, option, words in (
        (same, "second", "Both captioners are the same"),
        ({"first_options": "[1"}, "first_options", "is not a JSON object"),
        ({"first_options": '{"nothing": 1}'}, "first_options", "BLIP has no option nothing"),
        ({"second_options": '{"general_threshold": 7}'}, "second_options", "General threshold is 7"),
        ({"second_options": '{"repo_id": ""}'}, "second_options", "WD14: Repo ID is empty"),
        ({"train_data_dir": "/nowhere"}, "train_data_dir", "There is no folder"),
    ):
        found = problem(**values)
        assert (found.option, words in found.what) == (option, True), found


def test_every_captioner_with_a_model_can_be_compared():
    kinds = {name: job.settings_class() for name, job in UTILITIES.items()}
    with_a_model = {name for name, kind in kinds.items() if issubclass(kind, CaptionerSettings)}
    assert {compare.job_name(name) for name in get_args(compare.Name)} == with_a_model - {"caption-basic"}
    assert kinds["caption-basic"] is basic.Settings


def test_the_page_shows_both_beside_each_picture_and_no_markup(folder: Path, models: dict):
    (folder / "<i>.png").write_bytes((folder / "a.png").read_bytes())
    models = {**models, "GIT": {**models["GIT"], "prefix": "<script>"}}
    _, told = run_job(JOB, **given(folder, models, second="GIT", count=1))
    html = run_view.samples(told)
    assert "<th>BLIP<button" in html
    assert 'data-use="1"' in html
    assert html.count("<td>") == 2
    assert "&lt;i&gt;.png" in html
    assert "<script" not in html
