"""Models from wherever they lie: a folder, a single file in the original layout, a hub name."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models.conditioning import Reading
from engine.models.sd import CONFIGS, StableDiffusion
from engine.models.vae import to_latents
from tests.models.loading import NO_SIZES, loaded
from tests.models.original_layout import original_layout


def load(name: Path | str, vae: Path | str = "") -> object:
    return loaded(name, vae=str(vae))[1]


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the program ships for SD 1.5, for the built-in model: its parts' configurations without weights."""
    folder = tmp_path_factory.mktemp("configs")
    return Path(shutil.copytree(MODEL_FOLDER, folder / "small", ignore=shutil.ignore_patterns("*.safetensors")))


@pytest.fixture
def as_small(monkeypatch: pytest.MonkeyPatch, configs: Path) -> None:
    """Single files are taken for ones of the built-in model's size, where real ones are of SD 1.5's."""
    monkeypatch.setitem(CONFIGS, 1, configs)


@pytest.fixture
def single_file(pipeline: StableDiffusionPipeline, tmp_path: Path) -> Path:
    save_file(original_layout(pipeline), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def same_answer(a: object, b: object) -> None:
    family = StableDiffusion()
    torch.manual_seed(0)
    noisy, t, pixels = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        texts = [family.encode_text(parts, ["a red star"], Reading(1)) for parts in (a, b)]
        torch.testing.assert_close(*(text["states"] for text in texts))
        torch.testing.assert_close(
            *(family.predict(p, noisy, t, texts[0], NO_SIZES) for p in (a, b)), atol=1e-4, rtol=1e-4
        )
        latents = [to_latents(p.vae, pixels, torch.Generator().manual_seed(1)) for p in (a, b)]
        torch.testing.assert_close(*latents, atol=1e-4, rtol=1e-4)


def test_a_safetensors_file_is_the_same_model_as_its_folder(single_file: Path, as_small: None):
    same_answer(load(single_file), load(MODEL_FOLDER))


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_ckpt_file_is_the_same_model_too(
    pipeline: StableDiffusionPipeline, tmp_path: Path, as_small: None, wrapped: bool
):
    weights = original_layout(pipeline)
    torch.save({"state_dict": weights, "global_step": 1} if wrapped else weights, tmp_path / "model.ckpt")
    same_answer(load(tmp_path / "model.ckpt"), load(MODEL_FOLDER))


def test_names_of_old_of_the_text_encoder_are_read_too(
    pipeline: StableDiffusionPipeline, tmp_path: Path, as_small: None
):
    """As files have them that were made with an older transformers."""
    wrapped, bare = "cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."
    weights = {name.replace(wrapped, bare): tensor for name, tensor in original_layout(pipeline).items()}
    save_file(weights, tmp_path / "model.safetensors")
    same_answer(load(tmp_path / "model.safetensors"), load(MODEL_FOLDER))


class Payload:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self):
        return (open, ("/tmp/darkroom-was-here", "w"))


def test_a_ckpt_that_carries_code_is_refused_and_the_code_not_run(tmp_path: Path):
    Path("/tmp/darkroom-was-here").unlink(missing_ok=True)
    torch.save({"state_dict": Payload()}, tmp_path / "evil.ckpt")
    with pytest.raises(Failure, match=r"evil\.ckpt contains more than weights"):
        load(tmp_path / "evil.ckpt")
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(Failure, match=r"old\.ckpt"):
        load(tmp_path / "old.ckpt")
    assert not Path("/tmp/darkroom-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 4096])
@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt"])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Failure, match=name) as failed:
        load(tmp_path / name)
    assert "\n" not in failed.value.what


def test_a_file_that_was_not_downloaded_completely_is_named(single_file: Path, as_small: None):
    whole = single_file.read_bytes()
    single_file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Failure, match=r"model\.safetensors was not downloaded completely"):
        load(single_file)


@pytest.mark.shows("vae")
def test_another_vae_takes_the_place_of_the_models_own(tmp_path: Path, pipeline: StableDiffusionPipeline):
    other = pipeline.vae.from_config(pipeline.vae.config)
    other.save_pretrained(tmp_path / "vae")
    weight = "decoder.conv_out.weight"
    for source in (tmp_path / "vae", tmp_path):
        assert torch.equal(load(MODEL_FOLDER, vae=source).vae.state_dict()[weight], other.state_dict()[weight])
    assert not torch.equal(load(MODEL_FOLDER).vae.state_dict()[weight], other.state_dict()[weight])


def test_a_missing_vae_is_named():
    with pytest.raises(Failure, match="The VAE '/gone' cannot be loaded") as failed:
        load(MODEL_FOLDER, vae="/gone")
    assert failed.value.option == "vae"


def edited_model(folder: Path, file: str, **changes: object) -> Path:
    """The built-in model with some words of one of its files changed."""
    shutil.copytree(MODEL_FOLDER, folder, dirs_exist_ok=True)
    data = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(data))
    return folder


def test_models_of_other_kinds_are_refused_by_name(tmp_path: Path):
    flux = edited_model(tmp_path / "flux", "model_index.json", _class_name="QwenImagePipeline")
    with pytest.raises(Failure, match="is a Qwen-Image model"):
        load(flux)
    unlike = edited_model(tmp_path / "x", "scheduler/scheduler_config.json", prediction_type="sample")
    with pytest.raises(Failure, match="prediction type is 'sample'"):
        load(unlike)
    with pytest.raises(Failure, match=r"no model_index\.json"):
        load(tmp_path)


def test_single_files_of_real_size_have_sd15s_configuration():
    for part in ("unet", "vae", "text_encoder", "scheduler"):
        assert list((CONFIGS[1] / part).glob("*.json")), part
    unet = json.loads((CONFIGS[1] / "unet/config.json").read_text())
    assert unet["block_out_channels"] == [320, 640, 1280, 1280]
    assert unet["cross_attention_dim"] == 768
