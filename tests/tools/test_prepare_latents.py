"""Latents prepared beforehand: what a run finds, and what fine-tuning's metadata says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from engine.check.utility import check_utility
from engine.data.latent_files import LatentFiles
from engine.data.npz import Npz
from engine.demo.demo import MODEL_FOLDER
from engine.runs.events import EventReader, Progress, Stage
from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.report import report_of
from engine.training.train import train
from tests.tools.running import run_job, settings_of

JOB = "prepare-latents"


def draw(folder: Path, **sizes: tuple[int, int]) -> Path:
    """Pictures of noise, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in sizes.items():
        noise = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{name}.png")
    return folder


def given(folder: Path, **values) -> dict:
    return {
        "train_data_dir": str(folder), "pretrained_model_name_or_path": str(MODEL_FOLDER), "max_resolution": "64,64",
        "min_bucket_reso": 64, "bucket_reso_steps": 16, "mixed_precision": "no", **values,
    }  # fmt: skip


def trained(settings: TrainingSettings, **changes) -> set[str]:
    """The stages of a run of one step."""
    settings = settings.with_values({"max_train_steps": 1, "cache_latents_to_disk": True, **changes})
    run = RunFolder.create("train", settings.model_dump_json(), "after")
    writer = run.writer()
    train(settings, run, report_of(writer, settings, run))
    writer.close()
    return {event.name for event in EventReader(run.events_file).read() if isinstance(event, Stage)}


@pytest.mark.shows("prepare-latents.train_data_dir", "prepare-latents.pretrained_model_name_or_path",
                   "prepare-latents.max_resolution", "prepare-latents.min_bucket_reso",
                   "prepare-latents.bucket_reso_steps", "prepare-latents.flip_aug",
                   "prepare-latents.batch_size")  # fmt: skip
def test_a_run_encodes_nothing_that_was_prepared(settings: TrainingSettings, tmp_path: Path):
    folder = draw(tmp_path / "img" / "2_shapes", wide=(96, 48), tall=(40, 80))
    alike = {"min_bucket_reso": 64, "bucket_reso_steps": 16, "flip_aug": True}
    outcome, told = run_job(JOB, **given(folder, batch_size=2, flip_aug=True))
    assert outcome == ("done", 7)
    assert told.results[0].text == "Latents of 7 pictures written."
    assert "64×64: 5 pictures" in told.results[1].lines
    assert told.progress
    assert (told.progress.done, told.progress.total) == (7, 7)
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*_sd.npz")}
    assert len(before) == 7
    assert "caching" not in trained(settings, **alike)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*_sd.npz")} == before
    assert "caching" in trained(settings, **alike, max_resolution="48,48", output_name="other sizes")


@pytest.mark.shows("prepare-latents.mixed_precision")
def test_latents_of_another_precision_are_others(tmp_path: Path):
    folder = draw(tmp_path / "img", a=(64, 64))
    for precision, written in (("no", 1), ("bf16", 1), ("bf16", 0)):
        AcceleratorState._reset_state()  # what is one process a run is one for all of them here
        try:
            assert run_job(JOB, **given(folder, mixed_precision=precision))[0] == ("done", written)
        finally:
            AcceleratorState._reset_state()


@pytest.mark.shows("prepare-latents.masked_loss", "prepare-latents.mask_dir")
def test_masks_are_kept_where_they_are_asked_for(tmp_path: Path):
    folder, masks = draw(tmp_path / "img", a=(64, 64)), draw(tmp_path / "masks", a=(64, 64))
    run_job(JOB, **given(folder, masked_loss=True))
    run_job(JOB, **given(folder, masked_loss=True, mask_dir=str(masks)))
    with Npz(folder / "a_0064x0064_sd.npz") as opened:
        assert "darkroom_mask" in opened.names()
    wrong = settings_of(JOB, **given(folder, masked_loss=True, mask_dir=str(tmp_path / "none")))
    assert [failure.option for failure in wrong.failures()] == ["mask_dir"]


@pytest.mark.shows("prepare-latents.in_json", "prepare-latents.out_json", "prepare-latents.max_bucket_reso",
                   "prepare-latents.bucket_no_upscale", "prepare-latents.enable_bucket")  # fmt: skip
def test_the_metadata_says_at_which_size_each_picture_is_trained(tmp_path: Path):
    """Under sd-scripts' key, by hand: 96×48 within 64² is 90×45, and 45 goes down to 32, two steps of 16."""
    folder, captions = draw(tmp_path / "img", wide=(96, 48), small=(40, 40)), tmp_path / "meta_cap.json"
    captions.write_text(json.dumps({"wide": {"caption": "noise"}, "gone": {"tags": "x"}}))
    out = tmp_path / "meta_lat.json"

    def sizes(**values) -> dict:
        run_job(JOB, **given(folder, in_json=str(captions), out_json=str(out), **values))
        found = json.loads(out.read_text())
        assert found["wide"]["caption"] == "noise"
        assert found["gone"] == {"tags": "x"}
        return {name: found[name]["train_resolution"] for name in ("wide", "small")}

    assert sizes(bucket_no_upscale=True) == {"wide": [64, 32], "small": [32, 32]}
    assert sizes(bucket_no_upscale=False, min_bucket_reso=64, bucket_reso_steps=64)["small"] == [64, 64]
    assert sizes(bucket_no_upscale=False, min_bucket_reso=64, max_bucket_reso=64)["wide"] == [64, 64]
    assert sizes(enable_bucket=False) == {"wide": [64, 64], "small": [64, 64]}
    assert (tmp_path / "meta_lat.json.bak").exists()


@pytest.mark.shows("prepare-latents.recursive", "prepare-latents.full_path")
def test_pictures_of_several_folders_are_known_by_their_paths(tmp_path: Path):
    folder, out = draw(tmp_path / "img", a=(64, 64)), str(tmp_path / "meta.json")
    draw(folder / "inner", a=(64, 64))
    values = given(folder, recursive=True, out_json=out)
    assert [failure.option for failure in settings_of(JOB, **values).failures()] == ["full_path"]
    assert run_job(JOB, **values, full_path=True)[0] == ("done", 2)
    assert json.loads(Path(out).read_text()).keys() == {str(folder / "a.png"), str(folder / "inner" / "a.png")}


@pytest.mark.shows("prepare-latents.skip_existing")
def test_what_is_there_is_left_or_made_anew_but_never_twice_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = draw(tmp_path / "img", a=(64, 64), b=(64, 64), c=(64, 64))
    run_job(JOB, **given(folder))
    again, told = run_job(JOB, **given(folder))
    assert again == ("done", 0)
    assert told.results[0].text == "Latents of 0 pictures written, 3 were there."
    anew = given(folder, skip_existing=False)
    run = RunFolder.create(JOB, "{}", "anew")
    write = LatentFiles.write
    monkeypatch.setattr(LatentFiles, "write", lambda *args: (run.ask("stop"), write(*args)))
    assert run_job(JOB, run, **anew)[0] == ("stopped", 1)
    run.forget_process()
    monkeypatch.setattr(LatentFiles, "write", write)
    assert run_job(JOB, run, **anew)[0] == ("done", 2)


def test_a_stopped_run_says_how_far_it_came_and_unreadable_pictures_are_listed(tmp_path: Path):
    folder = draw(tmp_path / "img", a=(64, 64), b=(64, 64))
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-100])
    (folder / "none.png").write_bytes(b"no picture")
    run = RunFolder.create(JOB, "{}", "x")
    run.ask("stop")
    assert run_job(JOB, run, **given(folder, out_json=str(tmp_path / "meta.json")))[0] == ("stopped", 0)
    assert not (tmp_path / "meta.json").exists()
    run.forget_process()
    outcome, told = run_job(JOB, run, **given(folder, out_json=str(tmp_path / "meta.json")))
    assert outcome == ("done", 2)
    assert json.loads((tmp_path / "meta.json").read_text()).keys() == {"a", "b"}
    assert {Path(one.file).name for one in told.left_out} == {"cut.png", "none.png"}
    assert [event.done for event in EventReader(told.run.events_file).read() if isinstance(event, Progress)]


@pytest.mark.shows("prepare-latents.vae", "prepare-latents.sdxl_no_half_vae")
def test_another_vae_takes_the_models_place(tmp_path: Path):
    folder = draw(tmp_path / "img", a=(64, 64))
    run_job(JOB, **given(folder, vae=str(MODEL_FOLDER / "vae")))
    assert run_job(JOB, **given(folder))[0] == ("done", 0)  # the same VAE, however it is named
    settings = settings_of(JOB, **given(folder, sdxl_no_half_vae=True))
    assert settings.as_training().sdxl.sdxl_no_half_vae


@pytest.mark.parametrize(
    ("values", "option", "words"),
    [
        ({"max_resolution": "many"}, "max_resolution", "write width,height"),
        ({"max_resolution": "60,60"}, "max_resolution", "not divisible by 8"),
        ({"pretrained_model_name_or_path": "/nowhere"}, "pretrained_model_name_or_path", "There is no model"),
        ({"vae": "/nowhere.safetensors"}, "vae", "There is no VAE"),
        ({"in_json": "/x.json"}, "out_json", "is empty"),
        ({"train_data_dir": "/nowhere"}, "train_data_dir", "There is no folder"),
    ],
)
def test_what_is_wrong_is_told_before_the_start(tmp_path: Path, values: dict, option: str, words: str):
    folder = draw(tmp_path / "img", a=(64, 64))
    problem = check_utility(settings_of(JOB, **given(folder) | values)).problems[0]
    assert problem.option == option
    assert words in problem.what


def test_a_model_that_does_not_say_what_it_is_is_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = draw(tmp_path / "img", a=(64, 64))
    monkeypatch.setattr("engine.tools.prepare_latents.recognise", lambda name: None)
    outcome, told = run_job(JOB, **given(folder))
    assert outcome == ("done", 1)
    assert told.warnings == ["The model's files do not say what it is; it is taken for Stable Diffusion 1."]
    assert told.results[-1].lines == ["64×64: 1 picture", "Mean error of the aspect ratio: 0.0000"]
