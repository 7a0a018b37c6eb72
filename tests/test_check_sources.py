"""What can be known of a model before the start is said before it: files without weights, and models of the hub."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.check.check import check
from engine.check.problem import Problem
from engine.check.utility import check_utility
from engine.demo.demo import MODEL_FOLDER
from engine.jobs import JOBS
from engine.models import hub_reach
from engine.settings.training import TrainingSettings
from tests.models.hub_server import Hub, served
from tests.models.loading import loaded

NAME = "someone/model"
MODEL = "pretrained_model_name_or_path"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_reach, "_asked", {})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(tmp_path / "cache", monkeypatch) as hub:
        yield hub


def problems(settings: TrainingSettings, **changes: object) -> dict[str, Problem]:
    return {problem.option: problem for problem in check(settings.with_values(changes)).problems}


@pytest.mark.parametrize("option", ["network_weights", "vae", MODEL])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
        ("lora.safetensors", b"not one"),
        ("lora.pt", b""),
        ("a.ckpt", b"<!DOCTYPE html><title>Log in</title>"),
    ],
)
def test_a_file_that_holds_no_weights(
    settings: TrainingSettings, tmp_path: Path, option: str, name: str, content: bytes
):
    (tmp_path / name).write_bytes(content)
    problem = problems(settings, **{option: str(tmp_path / name)})[option]
    assert problem.blocking
    assert name in problem.what


def test_files_that_hold_weights_are_no_obstacle(settings: TrainingSettings, tmp_path: Path):
    save_file({"decoder.conv_in.weight": torch.zeros(1)}, tmp_path / "vae.safetensors")
    torch.save({"x": torch.zeros(1)}, tmp_path / "new.pt")
    torch.save({"x": torch.zeros(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("vae.safetensors", "new.pt", "old.pt"):
        assert "vae" not in problems(settings, vae=str(tmp_path / name))


FLUX = {"double_blocks.0.img_attn.qkv.weight": torch.zeros(1), "img_in.weight": torch.zeros(1, 64)}


def test_the_parts_beside_a_transformer_alone(settings: TrainingSettings, tmp_path: Path):
    save_file(FLUX, tmp_path / "flux.safetensors")
    (tmp_path / "clip.txt").write_text("none")
    flux = settings.with_values(
        {MODEL: str(tmp_path / "flux.safetensors"), "flux1_checkbox": True, "text_encoder_lr": 0}
    )
    told = problems(flux)
    for option, label in (("clip_l", "CLIP-L Path"), ("t5xxl", "T5-XXL Path"), ("flux_vae", "VAE Path")):
        assert told[option].what == f"The model's file contains only the transformer, and {label} is empty."
    gone = problems(flux, clip_l=str(tmp_path / "clip.txt"), t5xxl="/gone.safetensors", flux_vae=str(tmp_path))
    assert "is not a weights file" in gone["clip_l"].what
    assert gone["t5xxl"].what == 'T5-XXL Path: there is no file "/gone.safetensors".'
    assert "there is no file" in gone["flux_vae"].what
    # Beside a folder, which has all parts, nobody reads them.
    assert not {"clip_l", "t5xxl", "flux_vae"} & problems(flux, pretrained_model_name_or_path=str(MODEL_FOLDER)).keys()


class TestHub:
    def test_a_model_that_can_be_had_is_no_obstacle(self, hub: Hub, settings: TrainingSettings):
        hub.add(NAME, MODEL_FOLDER)
        assert check(settings.with_values({MODEL: NAME})).can_start
        assert hub.fetched == []

    def test_the_answer_is_remembered(self, hub: Hub, settings: TrainingSettings):
        hub.add(NAME, MODEL_FOLDER)
        for _ in range(3):
            check(settings.with_values({MODEL: NAME}))
        assert hub.asked == 1

    def test_what_is_here_is_not_asked_for(self, hub: Hub, settings: TrainingSettings):
        hub.add(NAME, MODEL_FOLDER)
        loaded(NAME)
        hub.server.shutdown()
        asked = hub.asked
        assert check(settings.with_values({MODEL: NAME, "vae": NAME})).can_start
        assert hub.asked == asked

    def test_a_download_that_broke_off_is_not_all_there(self, hub: Hub, settings: TrainingSettings, tmp_path: Path):
        hub.add(NAME, MODEL_FOLDER)
        loaded(NAME)
        (weights,) = (tmp_path / "cache").glob("*/snapshots/*/unet/*.safetensors")
        weights.unlink()
        del hub.models[NAME]
        assert not check(settings.with_values({MODEL: NAME})).can_start

    @pytest.mark.parametrize("option", [MODEL, "vae"])
    def test_a_model_that_does_not_exist(self, hub: Hub, settings: TrainingSettings, option: str):
        problem = problems(settings, **{option: NAME})[option]
        assert problem.blocking
        assert problem.what == f"The Hugging Face hub has no model '{NAME}', or it is private."

    def test_a_model_that_asks_for_a_token(self, hub: Hub, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch):
        hub.add(NAME, MODEL_FOLDER)
        hub.gated[NAME] = "hf_right"
        problem = problems(settings, **{MODEL: NAME})[MODEL]
        assert problem.what == f"{NAME} asks its users to accept a licence first."
        assert "HF_TOKEN" in problem.mend
        monkeypatch.setenv("HF_TOKEN", "hf_right")  # another question, so the answer to the first is none to it
        assert check(settings.with_values({MODEL: NAME})).can_start

    def test_a_repository_without_a_model_in_diffusers_format(
        self, hub: Hub, settings: TrainingSettings, tmp_path: Path
    ):
        (tmp_path / "repo").mkdir()
        (tmp_path / "repo" / "model.safetensors").write_bytes(b"x")
        hub.add(NAME, tmp_path / "repo")
        problem = problems(settings, **{MODEL: NAME})[MODEL]
        assert "has no model_index.json" in problem.what

    def test_a_hub_out_of_reach(self, hub: Hub, settings: TrainingSettings):
        hub.server.shutdown()
        hub.server.server_close()
        problem = problems(settings, **{MODEL: NAME})[MODEL]
        assert problem.blocking
        assert problem.what == f"{NAME} is not on this machine, and the Hugging Face hub cannot be reached."

    def test_offline_by_wish(self, settings: TrainingSettings):
        """As all tests are: HF_HUB_OFFLINE is set."""
        assert problems(settings, **{MODEL: NAME})[MODEL].blocking

    def test_a_hub_that_hangs_holds_nobody_up_and_blocks_nobody(
        self, hub: Hub, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
    ):
        go_on = threading.Event()
        answer = hub.answer
        monkeypatch.setattr(hub, "answer", lambda request: (go_on.wait(20), answer(request)))
        monkeypatch.setattr(hub_reach, "PATIENCE", 0.05)
        hub.add(NAME, MODEL_FOLDER)
        told = check(settings.with_values({MODEL: NAME}))
        assert told.can_start
        assert "did not answer" in told.problems[0].what
        go_on.set()
        (asked,) = hub_reach._asked.values()
        assert asked.answered.wait(20)
        assert check(settings.with_values({MODEL: NAME})).problems == []

    @pytest.mark.parametrize("job", ["caption-wd14", "caption-blip", "caption-qwen"])
    def test_utilities_ask_for_their_models(self, hub: Hub, settings: TrainingSettings, job: str, tmp_path: Path):
        shutil.copytree(Path(settings.folders.train_data_dir) / "2_shapes", tmp_path / "pictures")
        kind = JOBS[job].settings_class()
        option = "repo_id" if job == "caption-wd14" else "model_id"
        told = kind().with_values({"train_data_dir": str(tmp_path / "pictures"), option: NAME})
        (problem,) = check_utility(told).problems
        assert (problem.option, problem.blocking) == (option, True)
        assert "has no model" in problem.what
        hub.models[NAME] = {"model.onnx" if job == "caption-wd14" else "config.json": b"{}"}
        hub_reach._asked.clear()
        assert check_utility(told).problems == []
