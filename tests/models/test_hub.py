"""Models from the hub: the real client, asked for what a server on this machine has."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure, Stopped
from engine.models.hub import downloads_told, fetched, needed_files
from engine.runs.events import Stage
from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.estimate import estimate
from engine.training.report import Report
from engine.training.train import train
from tests.models.hub_server import Hub, served
from tests.models.loading import loaded

NAME = "someone/model"

ASKED = (NAME, {"StableDiffusionPipeline": ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}, "")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model as the hub has models: in several formats, with a safety checker and pictures of its own."""
    folder = tmp_path_factory.mktemp("hub") / "model"
    shutil.copytree(MODEL_FOLDER, folder)
    for part in ("unet", "vae", "text_encoder"):
        stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
        weights = (folder / part / f"{stem}.safetensors").read_bytes()
        for other in (f"{stem}.fp16.safetensors", f"{stem}.bin", f"{stem}.non_ema.bin"):
            (folder / part / other).write_bytes(weights)
    (folder / "safety_checker").mkdir(exist_ok=True)
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"x" * 1000)
    (folder / "README.md").write_text("A model.")
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(tmp_path / "cache", monkeypatch) as hub:
        yield hub


def test_only_what_is_read_is_fetched_and_the_bytes_are_told(hub: Hub, files: Path):
    hub.add(NAME, files)
    told: list[tuple[int, int]] = []
    with downloads_told(lambda done, total: told.append((done, total))):
        _, parts = loaded(NAME)
    assert parts.denoiser.num_parameters() > 10**6
    weights = {"unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
               "text_encoder/model.safetensors"}  # fmt: skip
    assert {file for file in hub.fetched if file.endswith((".safetensors", ".bin"))} == weights
    assert not any(file.startswith("safety_checker") or file.endswith(".md") for file in hub.fetched)
    total = sum(len(hub.models[NAME][file]) for file in hub.fetched if file != "model_index.json")
    assert {all_bytes for _, all_bytes in told} == {total}
    done = [count for count, _ in told]
    assert (done[0], done[-1]) == (0, total)
    assert done == sorted(done)
    assert len(set(done)) > 3

    asked = hub.asked
    loaded(NAME)
    assert hub.asked == asked  # what is here is loaded without asking


def test_the_estimate_of_a_models_memory_fetches_its_lists_alone(hub: Hub, files: Path):
    hub.add(NAME, files)
    values = {"pretrained_model_name_or_path": NAME, "max_resolution": "64,64", "text_encoder_lr": 0}
    said = estimate(TrainingSettings().with_values(values), "cuda")
    local = estimate(TrainingSettings().with_values({**values, "pretrained_model_name_or_path": str(files)}), "cuda")
    assert said.phases == local.phases
    assert not any(file.endswith((".safetensors", ".bin")) for file in hub.fetched)
    _, parts = loaded(NAME)
    assert parts.denoiser.num_parameters() > 10**6


def test_a_download_that_is_stopped_goes_on_later_with_what_is_missing(hub: Hub, files: Path):
    hub.add(NAME, files)

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise Stopped

    with downloads_told(stop), pytest.raises(Stopped):
        fetched(*ASKED)
    first = set(hub.fetched)
    hub.fetched.clear()
    folder = fetched(*ASKED)
    assert 0 < len(set(hub.fetched)) < len(first)
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size > 10**6


def test_a_line_that_is_cut_is_told_and_no_half_file_is_taken_for_a_whole_one(hub: Hub, files: Path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client waits between its tries
    hub.add(NAME, files)
    hub.cut.add("unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(Failure, match=r"The download of someone/model was interrupted: .*") as failed:
        fetched(*ASKED)
    assert "what has already been downloaded is kept" in failed.value.mend
    hub.cut.clear()
    assert (fetched(*ASKED) / "unet/diffusion_pytorch_model.safetensors").read_bytes() == hub.models[NAME][
        "unet/diffusion_pytorch_model.safetensors"
    ]


def failure(**changes: object) -> Failure:
    with pytest.raises(Failure) as failed:
        loaded(NAME, **changes)
    assert failed.value.option == "pretrained_model_name_or_path"
    assert "\n" not in failed.value.what + failed.value.mend
    return failed.value


def test_a_name_that_the_hub_does_not_know(hub: Hub):
    assert "has no model 'someone/model'" in failure().what


def test_a_gated_model_asks_for_the_licence_and_is_fetched_with_the_token(
    hub: Hub, files: Path, monkeypatch: pytest.MonkeyPatch
):
    hub.add(NAME, files)
    hub.gated[NAME] = "hf_mine"
    failed = failure()
    assert "licence" in failed.what
    assert f"{hub.url}/{NAME}" in failed.mend
    assert "HF_TOKEN" in failed.mend
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert (fetched(*ASKED) / "unet" / "config.json").is_file()


def test_without_a_network_it_is_said_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.server.shutdown()
    hub.server.server_close()
    failed = failure()
    assert "cannot be reached" in failed.what
    assert "Connect to the internet" in failed.mend
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "cannot be reached" in failure().what


def test_a_disk_that_is_too_small_is_told_before_anything_large_comes(
    hub: Hub, files: Path, monkeypatch: pytest.MonkeyPatch
):
    hub.add(NAME, files)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    assert "does not fit on the disk: 0.0 GB still have to be downloaded" in failure().what
    assert hub.fetched == ["model_index.json"]


def test_what_is_no_diffusers_model_or_another_one_is_refused_before_it_is_fetched(hub: Hub, files: Path):
    hub.models[NAME] = {"flux1-dev.safetensors": b"x", "README.md": b"x"}
    failed = failure()
    assert "has no model_index.json" in failed.what
    assert "flux1-dev.safetensors" in failed.mend
    hub.add(NAME, files)
    assert "is a StableDiffusion model, not a StableDiffusionXL model" in failure(sdxl=True).what
    assert set(hub.fetched) <= {"model_index.json"}


def test_which_of_several_formats_is_needed():
    stem = "diffusion_pytorch_model"
    shards = [f"{stem}-00001-of-00002.safetensors", f"{stem}-00002-of-00002.safetensors",
              f"{stem}.safetensors.index.json"]  # fmt: skip
    others = ["config.json", "openvino_model.bin", f"{stem}.msgpack", *(f"{stem}.{rest}" for rest in (
        "safetensors", "fp16.safetensors", "bin", "fp16-00001-of-00002.safetensors", "bin.index.json",
        "safetensors.index.fp16.json"))]  # fmt: skip
    files = [f"unet/{name}" for name in (*shards, *others)]
    assert needed_files(files, ["unet"]) == sorted(["unet/config.json", *(f"unet/{name}" for name in shards)])
    old = ["text_encoder/pytorch_model.bin", "text_encoder/pytorch_model.fp16.bin", "text_encoder/openvino_model.bin"]
    assert needed_files(old, ["text_encoder", "unet"]) == [old[0]]


def test_a_run_shows_the_download_and_can_be_stopped_during_it(hub: Hub, files: Path, settings: TrainingSettings):
    hub.add(NAME, files)
    run = RunFolder.create("train", "{}", "shapes")
    run.ask("stop")
    with pytest.raises(Stopped):
        train(settings.with_values({"pretrained_model_name_or_path": NAME}), run, Report(run.writer()))
    loading = [event for event in run.events().read() if isinstance(event, Stage) and event.name == "loading"]
    assert loading[-1].total > 10**6


def test_a_model_that_moved_is_asked_for_at_its_new_place(hub: Hub, files: Path):
    hub.add("stable-diffusion-v1-5/stable-diffusion-v1-5", files)
    asked = ("runwayml/stable-diffusion-v1-5", *ASKED[1:])
    assert "stable-diffusion-v1-5--stable-diffusion-v1-5" in str(fetched(*asked))


@pytest.mark.parametrize("within", ["", "vae"])
def test_a_vae_of_the_hub_comes_alone_and_its_bytes_are_told(hub: Hub, files: Path, tmp_path: Path, within: str):
    """Of a repository that contains nothing else, or of a whole model's."""
    own = tmp_path / "vae"
    shutil.copytree(MODEL_FOLDER / "vae", own)
    (own / "sdxl_vae.safetensors").write_bytes(b"x" * 1000)
    hub.add("someone/vae", files if within else own)
    told: list[tuple[int, int]] = []
    with downloads_told(lambda done, total: told.append((done, total))):
        _, parts = loaded(MODEL_FOLDER, vae="someone/vae")
    assert sum(p.numel() for p in parts.vae.parameters()) > 10**5
    place = f"{within}/" if within else ""
    assert set(hub.fetched) == {f"{place}config.json", f"{place}diffusion_pytorch_model.safetensors"}
    assert told[-1][0] == told[-1][1] > 10**5
    asked = hub.asked
    loaded(MODEL_FOLDER, vae="someone/vae")
    assert hub.asked == asked


def test_of_a_vae_whose_memory_is_estimated_only_the_list_is_fetched(hub: Hub):
    hub.add("someone/vae", MODEL_FOLDER / "vae")
    values = {"pretrained_model_name_or_path": str(MODEL_FOLDER), "max_resolution": "64,64"}
    said = [
        estimate(TrainingSettings().with_values({**values, "vae": vae}), "cuda").phases
        for vae in ("someone/vae", str(MODEL_FOLDER / "vae"))
    ]
    assert said[0] == said[1]
    assert hub.fetched == ["config.json"]


def test_what_is_no_vae_on_the_hub_is_said_to_be_none(hub: Hub):
    hub.models["someone/vae"] = {"vae.safetensors": b"x"}
    with pytest.raises(Failure, match=r"has no config\.json, neither at the top level nor in vae") as failed:
        loaded(MODEL_FOLDER, vae="someone/vae")
    assert failed.value.option == "vae"
