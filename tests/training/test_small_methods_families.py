"""LECO and hypernetworks with every family that has cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.runs.history import History
from tests.models.small import SETTINGS, pipeline

Trained = Callable[..., History]

BRIEF: dict[str, Any] = {
    "output_name": "learned",
    "max_train_steps": 2,
    "save_precision": "float",
    "optimizer": "AdamW",
}


def model(family: str, folder: Path) -> dict[str, Any]:
    pipeline(family).save_pretrained(folder / "model")
    return SETTINGS[family] | {"pretrained_model_name_or_path": str(folder / "model")}


@pytest.mark.parametrize("family", ["sd2", "sd2-inpainting", "sd2-depth", "sdxl", "sdxl-refiner"])
def test_a_hypernetwork_learns(family: str, trained: Trained, tmp_path: Path):
    history = trained(**model(family, tmp_path) | BRIEF | {"method": "hypernetwork", "learning_rate": 1e-3})
    assert history.last.how == "done"
    told = torch.load(tmp_path / "out" / "learned.pt", weights_only=True)
    unet = pipeline(family).unet
    layers = [layer for name, layer in unet.named_modules() if name.endswith((".to_k", ".to_v"))]
    assert {size for size in told if isinstance(size, int)} == {layer.in_features for layer in layers}


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_leco_learns_at_chance_sizes(family: str, trained: Trained, tmp_path: Path):
    file = tmp_path / "prompts.toml"
    file.write_text(
        "resolution = 128\nbatch_size = 2\ndynamic_resolution = true\ndynamic_crops = true\n[[prompts]]\n"
        'target = "circle"\npositive = "red"\nmultiplier = -1.5\n'
    )
    given = BRIEF | {"method": "leco", "prompts_file": str(file), "unet_lr": 1e-3, "max_denoising_steps": 4}
    given |= {"min_snr_gamma": 5, "ema": True, "sample_prompts": "a circle --s 2", "sample_every_n_steps": 1}
    history = trained(**model(family, tmp_path) | given)
    assert history.last.how == "done"
    assert len(history.samples) == 2
    weights = load_file(tmp_path / "out" / "learned.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if name.endswith("lora_up.weight"))
    assert (tmp_path / "out" / "learned-ema.safetensors").exists()


@pytest.mark.parametrize("family", ["sd2-depth", "sdxl-refiner"])
def test_leco_refuses_models_that_need_pictures(family: str, trained: Trained, tmp_path: Path):
    history = trained(**model(family, tmp_path) | BRIEF | {"method": "leco", "leco_target": "circle"})
    assert history.problem is not None
    assert history.problem.what == "LECO draws from prompts alone, and this model needs pictures too."
