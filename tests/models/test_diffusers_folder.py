"""Whole models as folders for diffusers: what is saved is loaded again, by this program and by diffusers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from safetensors.torch import load_file

from engine.demo.demo import MODEL_FOLDER
from engine.models import flux, recognise, refiner, sd, sd3, sdxl
from engine.models.classic import name_classes
from engine.models.diffusers_folder import save_folder, scheduler_from
from engine.models.family import Family
from engine.models.parts import Parts
from tests.models.files import write_files
from tests.models.loading import loaded
from tests.models.small import FAMILIES, REFINERS_LABELS
from tests.models.small import pipeline as small


class Model:
    """A small model: its folder, and its family and parts as a run loads them."""

    def __init__(self, family: str, folder: Path) -> None:
        self.name, self.folder = family, MODEL_FOLDER if family == "sd1" else folder
        if family != "sd1":
            self.pipeline = small(family)
            self.pipeline.save_pretrained(self.folder)
        self.family, self.parts = loaded(self.folder)


@pytest.fixture(scope="module", params=("sd1", *FAMILIES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(request.param, tmp_path_factory.mktemp(request.param))


def saved(family: Family, parts: Parts, folder: Path, dtype: torch.dtype = torch.float32, safe: bool = True) -> Path:
    folder.mkdir()
    save_folder(folder, family.pipeline, parts, dtype, safe)
    return folder


def tensors(parts: Parts) -> dict[str, torch.Tensor]:
    modules = {"denoiser": parts.denoiser, "vae": parts.vae, **dict(enumerate(parts.text_encoders))}
    return {f"{name}.{key}": tensor for name, module in modules.items() for key, tensor in module.state_dict().items()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("safe", [True, False])
def test_what_is_saved_is_loaded_again_to_the_same_bits(model: Model, tmp_path: Path, safe: bool):
    _, again = loaded(saved(model.family, model.parts, tmp_path / "model", safe=safe))
    assert_equal(tensors(again), tensors(model.parts))
    assert (again.prediction, again.scheduler) == (model.parts.prediction, model.parts.scheduler)
    assert again.pipeline == model.parts.pipeline
    ids = [[tokenizer("a red circle").input_ids for tokenizer in parts.tokenizers] for parts in (again, model.parts)]
    assert ids[0] == ids[1]
    endings = {file.suffix for file in (tmp_path / "model").glob("*/*model*") if file.suffix != ".json"}
    assert endings - {".model"} == {".safetensors" if safe else ".bin"}


def test_diffusers_loads_it_by_its_list_of_parts_alone(model: Model, tmp_path: Path):
    folder = saved(model.family, model.parts, tmp_path / "model")
    pipeline = DiffusionPipeline.from_pretrained(folder)
    assert type(pipeline) is model.family.pipeline
    theirs = pipeline.unet if "unet" in pipeline.components else pipeline.transformer
    assert_equal(dict(theirs.state_dict()), dict(model.parts.denoiser.state_dict()))
    encoders = [part for name, part in pipeline.components.items() if part and name.startswith("text_encoder")]
    for encoder, own in zip(encoders, model.parts.text_encoders, strict=True):
        assert_equal(dict(encoder.state_dict()), dict(own.state_dict()))
    if model.parts.prediction != "flow":
        assert pipeline.scheduler.config.prediction_type == model.parts.prediction


def test_the_number_format_is_that_which_is_asked_for_and_the_model_keeps_its_own(model: Model, tmp_path: Path):
    before = {name: tensor.clone() for name, tensor in tensors(model.parts).items()}
    folder = saved(model.family, model.parts, tmp_path / "model", torch.bfloat16)
    written = {name: t for file in folder.glob("*/*.safetensors") for name, t in load_file(file).items()}
    assert {tensor.dtype for tensor in written.values() if tensor.is_floating_point()} == {torch.bfloat16}
    assert_equal(tensors(model.parts), before)
    assert {t.dtype for t in tensors(model.parts).values() if t.is_floating_point()} == {torch.float32}
    _, again = loaded(folder)
    assert_equal({n: t.bfloat16() for n, t in tensors(again).items()}, {n: t.bfloat16() for n, t in before.items()})


def test_it_is_as_small_as_diffusers_own(model: Model, tmp_path: Path):
    """A table of words that stands under two names is written once."""
    folder = saved(model.family, model.parts, tmp_path / "model")
    sizes = [
        {file.parent.name: len(load_file(file)) for file in place.glob("*/*.safetensors")}
        for place in (folder, model.folder)
    ]
    assert sizes[0] == {part: count for part, count in sizes[1].items() if part != "safety_checker"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_from_single_files_becomes_a_whole_folder(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = small(family)
    made.save_pretrained(tmp_path / "small")
    monkeypatch.setitem(sd.CONFIGS, 2, tmp_path / "small")
    for module in (sdxl, sd3, flux, refiner):
        monkeypatch.setattr(module, "CONFIGS", tmp_path / "small")
    monkeypatch.setattr(refiner, "BASE", tmp_path / "small")
    monkeypatch.setattr(recognise, "REFINERS_LABELS", REFINERS_LABELS)
    files = write_files(family, made, tmp_path / "files")
    of_files, parts = loaded(files.pop("pretrained_model_name_or_path"), **files)
    _, again = loaded(saved(of_files, parts, tmp_path / "model"))
    assert_equal(tensors(again), tensors(parts))
    name_classes(tmp_path / "small" / "model_index.json")
    ours, theirs = (json.loads((tmp_path / place / "model_index.json").read_text()) for place in ("model", "small"))
    assert ours == theirs
    ours, theirs = (
        json.loads((tmp_path / place / "scheduler" / "scheduler_config.json").read_text())
        for place in ("model", "small")
    )
    for said in ("_class_name", "shift", "use_dynamic_shifting", "prediction_type", "beta_schedule"):
        assert ours.get(said) == theirs.get(said)


def test_what_the_settings_say_of_the_prediction_is_told(tmp_path: Path):
    family, parts = loaded(MODEL_FOLDER, v_parameterization=True)
    pipeline = DiffusionPipeline.from_pretrained(saved(family, parts, tmp_path / "model"), safety_checker=None)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"


def test_a_schedule_without_signal_at_its_end_gets_a_scheduler_that_can_follow_it():
    config: dict[str, Any] = {"_class_name": "PNDMScheduler", "prediction_type": "v_prediction"}
    assert type(scheduler_from(config)).__name__ == "PNDMScheduler"
    ended = scheduler_from(config | {"rescale_betas_zero_snr": True})
    assert isinstance(ended, DDIMScheduler)
    assert ended.alphas_cumprod[-1] < 1e-6
