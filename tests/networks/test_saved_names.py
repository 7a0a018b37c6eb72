"""LoRA files under other programs' names: diffusers itself loads its own, and a run begins from each of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from engine.demo.demo import MODEL_FOLDER
from engine.models.family import Family
from engine.models.parts import Parts
from engine.networks.readers import READ, not_read
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.test_kinds import VARIANTS, prediction

Loaded = tuple[str, Path, Family, Parts]

USUAL: dict[str, Any] = {"network_dim": 4, "network_alpha": 2, "conv_dim": 2, "conv_alpha": 3, "unet_lr": 1e-4}
"""Strengths of 1/2, and of 3/2 on convolutions."""

STANDARD: dict[str, Any] = {"lora_type": "Standard"}


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """request.param: of tests/models/small.py, or sd1 for the built-in model."""
    if request.param == "sd1":
        return request.param, MODEL_FOLDER, *loaded()
    folder = tmp_path_factory.mktemp("model") / request.param
    small(request.param).save_pretrained(folder)
    return request.param, folder, *loaded(folder, **SETTINGS[request.param])


def run(model: Loaded, values: dict[str, Any]) -> tuple[LoraMethod, Parts]:
    """A run, and the parts that it changes."""
    name, folder, family, parts = model
    parts = copy.deepcopy(parts)
    encoders = {"text_encoder_lr": 0 if name in ("lumina", "chroma") else 1e-4}
    told = {"pretrained_model_name_or_path": str(folder), "save_precision": "float"}
    values = USUAL | SETTINGS.get(name, {}) | told | encoders | values
    settings = TrainingSettings().for_method("lora").with_values(values)
    return LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32), parts


def learned(model: Loaded, values: dict[str, Any]) -> tuple[LoraMethod, Parts]:
    method, parts = run(model, values)
    torch.manual_seed(3)
    with torch.no_grad():
        for group in ("unet", "text_encoder"):
            for parameter in method.network.parameters(group):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return method, parts


def saved(model: Loaded, dialect: str, file: Path, values: dict[str, Any]) -> tuple[dict[str, Tensor], Parts]:
    """The tensors of the file, and the parts as they are trained."""
    method, parts = learned(model, values | {"lora_file_dialect": dialect})
    method.save(file, {"ss_network_module": "networks.lora"})
    return load_file(file), parts


def loaded_by_diffusers(model: Loaded, file: Path) -> Parts:
    """The components after diffusers' own pipeline loaded the file into them."""
    _, folder, family, parts = model
    pipeline = family.pipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.load_lora_weights(file)
    theirs = copy.copy(parts)
    theirs.denoiser = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    names = ("text_encoder", "text_encoder_2", "text_encoder_3")[parts.first_encoder - 1 :]
    theirs.text_encoders = [getattr(pipeline, name) for name, _ in zip(names, parts.text_encoders, strict=False)]
    return theirs


def differ(family: Family, parts: Parts, others: Parts) -> float:
    return float((prediction(family, parts) - prediction(family, others)).abs().max())


@pytest.mark.shows("lora_file_dialect")
@pytest.mark.parametrize(
    "model", ["sd1", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux", "chroma", "lumina"], indirect=True
)
def test_diffusers_itself_loads_its_names_and_predicts_the_same(model: Loaded, tmp_path: Path):
    """Matrices of several modules are shared out among them, and a strength of 1/2 arrives."""
    _, _, family, plain = model
    file, parts = saved(model, "diffusers", tmp_path / "lora.safetensors", STANDARD)
    assert {name.partition(".lora_")[2] for name in file} == {"A.weight", "B.weight"}
    theirs = loaded_by_diffusers(model, tmp_path / "lora.safetensors")
    torch.testing.assert_close(prediction(family, parts), prediction(family, theirs), atol=1e-4, rtol=1e-4)
    assert differ(family, parts, plain) > 1e-3


@pytest.mark.parametrize("model", ["sd1"], indirect=True)
@pytest.mark.parametrize("variant", ["LoCon", "LoCon, Tucker", "LoCon, DoRA"])
def test_diffusers_loads_convolutions_of_another_rank_and_magnitudes(model: Loaded, variant: str, tmp_path: Path):
    _, _, family, plain = model
    file, parts = saved(model, "diffusers", tmp_path / "lora.safetensors", VARIANTS[variant])
    assert any(tensor.dim() == 4 and tensor.shape[2:] == (3, 3) for tensor in file.values())
    theirs = loaded_by_diffusers(model, tmp_path / "lora.safetensors")
    torch.testing.assert_close(prediction(family, parts), prediction(family, theirs), atol=1e-4, rtol=1e-4)
    assert differ(family, parts, plain) > 1e-3


@pytest.mark.parametrize("model", ["flux"], indirect=True)
def test_diffusers_loads_magnitudes_of_matrices_that_are_several_modules(model: Loaded, tmp_path: Path):
    _, _, family, plain = model
    _, parts = saved(model, "diffusers", tmp_path / "lora.safetensors", VARIANTS["LoCon, DoRA"])
    theirs = loaded_by_diffusers(model, tmp_path / "lora.safetensors")
    torch.testing.assert_close(prediction(family, parts), prediction(family, theirs), atol=1e-4, rtol=1e-4)
    assert differ(family, parts, plain) > 1e-3


def cases() -> Iterator[tuple[str, str, str]]:
    for family in ("sd1", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux", "chroma", "lumina"):
        for dialect in READ:
            yield family, dialect, "Standard"
    for variant, values in VARIANTS.items():
        for dialect in READ:
            if not_read(TrainingSettings().with_values(values | {"lora_file_dialect": dialect})) is None:
                yield "sd1", dialect, variant


@pytest.mark.parametrize(("model", "dialect", "variant"), cases(), indirect=["model"])
def test_a_run_begins_from_what_was_saved(model: Loaded, dialect: str, variant: str, tmp_path: Path):
    _, _, family, plain = model
    values = STANDARD if variant == "Standard" else VARIANTS[variant]
    _, parts = saved(model, dialect, tmp_path / "lora.safetensors", values)
    again = {"network_weights": str(tmp_path / "lora.safetensors"), "dim_from_weights": True}
    _, begun = run(model, values | again)
    torch.testing.assert_close(prediction(family, begun), prediction(family, parts), atol=1e-4, rtol=1e-4)
    assert differ(family, begun, plain) > 1e-3


@pytest.mark.parametrize("model", ["sd1", "sdxl", "sd3", "flux", "lumina"], indirect=True)
def test_comfyuis_names_are_those_of_the_original_file(model: Loaded, tmp_path: Path):
    """ComfyUI finds a layer by its weight's name in the original file, without .weight."""
    _, _, family, parts = model
    file, _ = saved(model, "ComfyUI", tmp_path / "lora.safetensors", STANDARD)
    prefixes = ("model.diffusion_model.", "diffusion_model.", "")
    original = {name.removesuffix(".weight") for name in family.to_original(parts)}
    originals = {"diffusion_model." + name.removeprefix(prefix) for prefix in prefixes for name in original}
    of_denoiser = {name.rpartition(".lora_")[0] or name.rpartition(".")[0] for name in file if "text_enc" not in name}
    assert of_denoiser
    assert of_denoiser <= originals
    encoders = {name.partition(".transformer.")[0] for name in file if "text_enc" in name}
    assert encoders == {
        "sd1": {"text_encoders.clip_l"}, "sdxl": {"text_encoders.clip_l", "text_encoders.clip_g"},
        "sd3": {"text_encoders.clip_l", "text_encoders.clip_g"}, "flux": {"text_encoders.clip_l"}, "lumina": set(),
    }[model[0]]  # fmt: skip
    assert all(".text_model.encoder.layers." in name for name in file if "text_enc" in name)


@pytest.mark.parametrize("model", ["sd1"], indirect=True)
def test_states_keep_kohyas_names(model: Loaded, tmp_path: Path):
    method, _ = learned(model, STANDARD | {"lora_file_dialect": "diffusers"})
    assert all(name.startswith("lora_") for name in method.state_dict())


@pytest.mark.parametrize("model", ["sd1"], indirect=True)
@pytest.mark.parametrize("dialect", ["kohya", "ComfyUI"])
def test_the_metadata_says_the_kind_under_any_names(model: Loaded, dialect: str, tmp_path: Path):
    values = VARIANTS["LoKr, factor 4, both"] | {"lora_file_dialect": dialect}
    method, _ = run(model, values)
    said = {key: str(value) for key, value in method.metadata().items()}
    method.save(tmp_path / "lora.safetensors", said)
    with safe_open(tmp_path / "lora.safetensors", framework="pt") as file:
        metadata = file.metadata()
    arguments = json.loads(metadata["ss_network_args"])
    assert metadata["ss_network_module"] == "lycoris.kohya"
    assert (arguments["algo"], arguments["factor"]) == ("lokr", "4")
    assert len(metadata["sshs_model_hash"]) == 64
