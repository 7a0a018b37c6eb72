"""Latents prepared beforehand: what a run finds, and what fine-tuning's metadata says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from engine.check.utility import check_utility
from engine.data.items import places_of
from engine.data.latent_files import LatentFiles
from engine.data.npz import Npz
from engine.data.source import Source
from engine.data.training_set import training_set
from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models.families import family_of
from engine.runs.events import EventReader, Progress, Stage
from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.hardware import weight_dtype
from engine.training.report import report_of
from engine.training.train import train
from engine.training.training_pictures import kept_latents
from tests.models.hub_server import Hub, served
from tests.models.small import pipeline as small
from tests.tools.running import run_job, settings_of

JOB = "prepare-latents"


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sdxl"
    small("sdxl").save_pretrained(folder)
    return folder


@pytest.fixture
def precisions() -> Iterator[None]:
    """What is one process a run is one for all tests here, and keeps the first precision that it was asked for."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(tmp_path / "cache", monkeypatch) as hub:
        yield hub


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
    assert told.results[0].text == "Latents of 0 pictures written, 3 already existed."
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


def lacking(folder: Path, **values) -> list[str]:
    """The pictures of which a run of DreamBooth's folders would not find its latents.  folder: one of them."""
    settings = TrainingSettings().with_values(
        given(folder, **values) | {"train_data_dir": str(folder.parent), "cache_latents_to_disk": True}
    )
    family = family_of(settings)
    parts = family.load(settings, weight_dtype(settings.hardware.mixed_precision))
    kept, items = kept_latents(settings, family, parts), training_set(settings).items
    assert kept
    assert items
    sources = [
        Source.of(item.picture, place, item.subset.pictures, None)
        for item, place in zip(items, places_of(items), strict=True)
    ]
    return [source.picture.name for source in kept.lacking(sources)]


def test_another_vae_takes_the_models_place(tmp_path: Path):
    folder = draw(tmp_path / "img", a=(64, 64))
    run_job(JOB, **given(folder, vae=str(MODEL_FOLDER / "vae")))
    assert run_job(JOB, **given(folder))[0] == ("done", 0)  # the same VAE, however it is named


@pytest.mark.shows("prepare-latents.vae")
@pytest.mark.usefixtures("precisions")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_finds_the_latents_of_the_vae_that_it_has(tmp_path: Path, sdxl: Path, precision: str):
    folder, other = draw(tmp_path / "img" / "1_a", a=(96, 48), b=(64, 64)), {"vae": str(sdxl / "vae")}
    alike = {"mixed_precision": precision}
    assert run_job(JOB, **given(folder, **alike))[0] == ("done", 2)
    assert lacking(folder, **alike) == []
    assert run_job(JOB, **given(folder, **alike, **other))[0] == ("done", 2)
    assert lacking(folder, **alike, **other) == []
    assert lacking(folder, **alike) == ["a.png", "b.png"]


@pytest.mark.shows("prepare-latents.sdxl_no_half_vae")
@pytest.mark.usefixtures("precisions")
@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("no_half", [False, True])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_of_sdxl_finds_them_whatever_its_vae_computes_in(
    tmp_path: Path, sdxl: Path, precision: str, no_half: bool, replaced: bool
):
    folder = draw(tmp_path / "img" / "1_a", a=(96, 48), b=(64, 64))
    alike = {"pretrained_model_name_or_path": str(sdxl), "mixed_precision": precision, "sdxl_no_half_vae": no_half}
    if replaced:
        alike["vae"] = str(MODEL_FOLDER / "vae")
    assert run_job(JOB, **given(folder, **alike))[0] == ("done", 2)
    assert lacking(folder, **alike, sdxl=True) == []
    if precision == "bf16":
        other = alike | {"sdxl_no_half_vae": not no_half}
        assert lacking(folder, **other, sdxl=True) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("values", "option", "words"),
    [
        ({"max_resolution": "many"}, "max_resolution", "enter width,height"),
        ({"max_resolution": "60,60"}, "max_resolution", "is too small"),
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


# ── what the model is ─────────────────────────────────────────────────────────────────────────────────


def test_a_model_of_the_hub_is_what_its_lists_say_and_of_its_weights_the_vae_alone_comes(
    tmp_path: Path, sdxl: Path, hub: Hub
):
    hub.add("someone/model", sdxl)
    folder = draw(tmp_path / "img", a=(64, 64))
    outcome, told = run_job(JOB, **given(folder, pretrained_model_name_or_path="someone/model"))
    assert outcome == ("done", 1)
    assert told.warnings == []
    assert [file.name for file in folder.glob("*.npz")] == ["a_0064x0064_sdxl.npz"]
    assert [file for file in hub.fetched if file.endswith(".safetensors")] == [
        "vae/diffusion_pytorch_model.safetensors"
    ]


def test_a_model_of_the_hub_that_is_none_of_those_trained_is_refused(tmp_path: Path, hub: Hub):
    folder = draw(tmp_path / "img", a=(64, 64))
    for files, words in (
        ({"model_index.json": b'{"_class_name": "AudioLDMPipeline"}'}, "contains no model that Darkroom knows"),
        ({"model_index.json": b'{"_class_name": "QwenImagePipeline"}'}, "cannot train"),
        ({"model.safetensors": b""}, "has no model_index.json"),
    ):
        hub.models[f"someone/{words.split()[-1]}"] = files
        with pytest.raises(Failure, match=words) as refused:
            run_job(JOB, **given(folder, pretrained_model_name_or_path=f"someone/{words.split()[-1]}"))
        assert refused.value.option == "pretrained_model_name_or_path"
    with pytest.raises(Failure, match="has no model 'no/body'"):
        run_job(JOB, **given(folder, pretrained_model_name_or_path="no/body"))
    assert not list(folder.glob("*.npz"))


def test_a_pickled_file_is_looked_into(tmp_path: Path):
    """As SDXL's, whose latents have a name of their own."""
    folder, file = draw(tmp_path / "img", a=(64, 64)), tmp_path / "model.ckpt"
    unet = "model.diffusion_model."
    names = {f"{unet}input_blocks.0.0.weight": (1, 4, 1, 1), f"{unet}label_emb.0.0.weight": (1, 2816)}
    tensors = {name: torch.zeros(shape) for name, shape in names.items()}
    values = given(folder, pretrained_model_name_or_path=str(file))
    torch.save({"state_dict": tensors}, file)
    with pytest.raises(Failure, match="UNet of a SDXL model, without text encoder and VAE"):
        run_job(JOB, **values)
    torch.save({"state_dict": tensors | {"conditioner.embedders.0.x": torch.zeros(1)}}, file)
    assert run_job(JOB, **values, vae=str(MODEL_FOLDER / "vae"))[0] == ("done", 1)
    assert [file.name for file in folder.glob("*.npz")] == ["a_0064x0064_sdxl.npz"]
    torch.save({"up.lora_up.weight": torch.zeros(1)}, file)
    with pytest.raises(Failure, match="is a LoRA, not a base model"):
        run_job(JOB, **values)


def test_a_model_that_does_not_say_what_it_is_is_refused(tmp_path: Path):
    folder, model = draw(tmp_path / "img", a=(64, 64)), tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text("{")
    with pytest.raises(Failure, match=r"Nothing in .* says which model family") as refused:
        run_job(JOB, **given(folder, pretrained_model_name_or_path=str(model)))
    assert refused.value.option == "pretrained_model_name_or_path"
    assert "Choose a folder" in refused.value.mend
    assert not list(folder.glob("*.npz"))
