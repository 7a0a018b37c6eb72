"""Checkpoints that hold a moving average of their weights beside them, as Latent Diffusion's training writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

from engine.check.model import check_model
from engine.check.problem import Problem
from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models.layouts.ema import averages
from engine.settings.training import TrainingSettings
from tests.models.loading import loaded
from tests.models.original_layout import original_layout
from tests.models.test_checkpoint import as_small, configs, pipeline  # noqa: F401 - fixtures

UNET = "model.diffusion_model."
FROZEN = f"{UNET}out.2.bias"


def averaged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """With an average of the UNet that is half of it, but for one tensor, as if that had not been trained.

    Latent Diffusion's LitEma: buffers named as in the model below "model.", without dots, and two numbers.
    """
    halves = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): tensor / 2
        for name, tensor in weights.items()
        if name.startswith(UNET) and name != FROZEN
    }
    return weights | halves | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(9)}


def write(weights: dict[str, Tensor], file: Path) -> Path:
    if file.suffix == ".ckpt":
        torch.save({"state_dict": weights, "global_step": 1}, file)
    else:
        save_file({name: tensor.clone() for name, tensor in weights.items()}, file)
    return file


def problems(name: Path | str, **changes: Any) -> list[Problem]:
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(name), **changes})
    return [problem for problem in check_model(settings) if problem.option == "start_from_ema"]


def test_names_are_those_of_published_checkpoints():
    """As v1-5-pruned.ckpt has them; the average of what was frozen is not there."""
    trained, average = f"{UNET}input_blocks.0.0.weight", "model_ema.diffusion_modelinput_blocks00weight"
    assert averages([trained, average, f"{UNET}out.0.weight", "first_stage_model.decoder.conv_in.weight"]) == {
        trained: average
    }


@pytest.mark.shows("start_from_ema")
@pytest.mark.usefixtures("as_small")
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_training_starts_from_the_average_or_from_the_trained_weights(
    pipeline: StableDiffusionPipeline,  # noqa: F811
    tmp_path: Path,
    ending: str,
):
    file = write(averaged(original_layout(pipeline)), tmp_path / f"model{ending}")
    assert problems(file, start_from_ema=True) == []
    usual, parts = (loaded(file, start_from_ema=on)[1] for on in (False, True))
    for name, tensor in pipeline.unet.state_dict().items():
        assert torch.equal(usual.denoiser.state_dict()[name], tensor)
        half = tensor if name == "conv_out.bias" else tensor / 2
        assert torch.equal(parts.denoiser.state_dict()[name], half)
    for name, tensor in pipeline.text_encoder.state_dict().items():
        assert torch.equal(parts.text_encoders[0].state_dict()[name], tensor)
    family, _ = loaded(file, start_from_ema=True)
    assert not any(name.startswith("model_ema.") for name in family.to_original(parts))  # what is saved has one UNet


@pytest.mark.usefixtures("as_small")
@pytest.mark.parametrize("kind", ["file", "folder", "hub"])
def test_a_model_without_an_average_is_refused_before_the_start_and_by_the_engine(
    pipeline: StableDiffusionPipeline,  # noqa: F811
    tmp_path: Path,
    kind: str,
):
    name = {
        "file": write(original_layout(pipeline), tmp_path / "model.safetensors"),
        "folder": MODEL_FOLDER,
        "hub": "runwayml/stable-diffusion-v1-5",
    }[kind]
    said = f'"{name.name if kind == "file" else name}" has no EMA weights (model_ema) beside its own.'
    (problem,) = problems(name, start_from_ema=True)
    assert problem.what == said
    assert problem.blocking
    with pytest.raises(Failure) as refused:
        loaded(name, start_from_ema=True)
    assert (refused.value.what, refused.value.option) == (said, "start_from_ema")
    assert problems(name) == []
