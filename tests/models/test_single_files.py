"""Single files as they are found: of Lightning, without a VAE, telling in words what they predict."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from engine.check.model import check_model
from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models import sdxl
from engine.models.recognise import recognise
from engine.settings.training import TrainingSettings
from tests.models import small
from tests.models.files import weights_of
from tests.models.loading import loaded
from tests.models.original_layout import original_layout
from tests.models.test_checkpoint import as_small, configs, pipeline, same_answer  # noqa: F401 - fixtures
from tests.models.test_pickled import lightning

MODEL = "pretrained_model_name_or_path"


def without_vae(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("first_stage_model.")}


@pytest.mark.usefixtures("as_small")
def test_a_file_of_lightning_is_the_same_model_as_its_folder(
    pipeline: StableDiffusionPipeline,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = lightning(tmp_path / "sd-v1-4.ckpt", OrderedDict(original_layout(pipeline)))
    same_answer(loaded(file)[1], loaded(MODEL_FOLDER)[1])
    settings = TrainingSettings().with_values({MODEL: str(file)})
    assert [problem for problem in check_model(settings) if problem.blocking] == []


@pytest.mark.usefixtures("as_small")
@pytest.mark.parametrize("named", [True, False])
def test_a_file_without_vae_takes_the_one_that_is_named(
    pipeline: StableDiffusionPipeline,  # noqa: F811
    tmp_path: Path,
    named: bool,
) -> None:
    file = tmp_path / "model.safetensors"
    save_file(without_vae(original_layout(pipeline)), file)
    settings = TrainingSettings().with_values({MODEL: str(file), "vae": str(MODEL_FOLDER) if named else ""})
    said = [problem.what for problem in check_model(settings) if problem.option == "vae"]
    if named:
        assert said == []
        same_answer(loaded(file, vae=str(MODEL_FOLDER))[1], loaded(MODEL_FOLDER)[1])
    else:
        assert said == ["The model's file contains no VAE."]
        with pytest.raises(Failure, match=r"model\.safetensors contains no VAE"):
            loaded(file)


def test_one_of_sdxl_does_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small.pipeline("sdxl")
    made.save_pretrained(tmp_path / "whole")
    monkeypatch.setattr(sdxl, "CONFIGS", tmp_path / "whole")
    file = tmp_path / "model.safetensors"
    save_file({k: t.contiguous() for k, t in without_vae(weights_of("sdxl", made)).items()}, file)
    made.tokenizer.save_pretrained(tmp_path / "tokenizer")
    _, parts = loaded(file, sdxl=True, vae=str(tmp_path / "whole"))
    weight = "decoder.conv_out.weight"
    assert torch.equal(parts.vae.state_dict()[weight], made.vae.state_dict()[weight])
    with pytest.raises(Failure, match="contains no VAE"):
        loaded(file, sdxl=True)


@pytest.mark.parametrize("kind", ["lora", "text encoder", "denoiser"])
def test_a_file_that_is_no_vae_is_called_what_it_is(kind: str, tmp_path: Path) -> None:
    weights = {
        "lora": {"lora_unet_a.lora_down.weight": torch.zeros(8, 4)},
        "text encoder": {"text_model.encoder.layers.0.self_attn.k_proj.weight": torch.zeros(4, 4)},
        "denoiser": {"input_blocks.0.0.weight": torch.zeros(2, 4, 3, 3)},
    }[kind]
    save_file(weights, tmp_path / "vae.safetensors")
    settings = TrainingSettings().with_values({MODEL: "someone/model", "vae": str(tmp_path / "vae.safetensors")})
    (said,) = [problem.what for problem in check_model(settings) if problem.option == "vae"]
    assert "contains no VAE" in said


@pytest.mark.usefixtures("as_small")
@pytest.mark.parametrize(("switch", "prediction"), [(True, "v_prediction"), (False, "epsilon")])
def test_what_this_program_saved_is_recognised_and_trained_as_what_it_predicts(
    switch: bool, prediction: str, tmp_path: Path
) -> None:
    settings = TrainingSettings().with_values({MODEL: str(MODEL_FOLDER), "v_parameterization": switch})
    family, parts = loaded(MODEL_FOLDER, v_parameterization=switch)
    file = tmp_path / "saved.safetensors"
    metadata = {key: str(value) for key, value in family.facts(settings, parts).items()}
    save_file({name: tensor.contiguous() for name, tensor in family.to_original(parts).items()}, file, metadata)
    found = recognise(str(file))
    assert found is not None
    assert found.prediction == prediction
    assert loaded(file)[1].prediction == prediction


@pytest.mark.parametrize("marked", [True, False])
def test_a_velocity_model_of_sdxl_says_so_in_the_way_that_comfyui_reads(
    marked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI and reForge go by the empty tensor v_pred, whatever the metadata says."""
    made = small.pipeline("sdxl")
    made.save_pretrained(tmp_path / "whole")
    monkeypatch.setattr(sdxl, "CONFIGS", tmp_path / "whole")
    family, parts = loaded(tmp_path / "whole", sdxl=True, v_parameterization=marked)
    weights = family.to_original(parts)
    assert ("v_pred" in weights) is marked
    file = tmp_path / "saved.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    made.tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert (recognise(str(file)) or family).prediction == ("v_prediction" if marked else None)
    assert loaded(file, sdxl=True)[1].prediction == ("v_prediction" if marked else "epsilon")
