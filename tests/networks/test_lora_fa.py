"""LoRA-FA: the down matrices stay as they were drawn, and only up is trained (Zhang et al. 2023, arXiv:2308.03303)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engine.models.quantize import QuantizedLinear, quantize
from engine.networks.kohya_format import save_lora
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small

GIVEN = {"lora_type": "LoRA-FA", "network_dim": 4, "network_alpha": 2}
SHORT = {"lr_scheduler": "constant", "save_precision": "float", "save_state_on_train_end": True}


def method_of(**changes: object) -> LoraMethod:
    family, parts = loaded()
    settings = TrainingSettings().with_values({**GIVEN, **changes})
    return LoraMethod(family, copy.deepcopy(parts), settings, total_steps=1, dtype=torch.float32)


def test_it_begins_as_the_paper_has_it_and_its_optimizer_knows_the_up_matrices_alone():
    torch.manual_seed(0)
    method = method_of()
    weights = method.state_dict()
    downs = {name: down for name, down in weights.items() if name.endswith("lora_down.weight")}
    spread = torch.cat([(down / (2 / sum(down.shape[:2])) ** 0.5).flatten() for down in downs.values()])
    assert spread.std().item() == pytest.approx(1, abs=0.02)
    assert spread.mean().item() == pytest.approx(0, abs=0.02)
    learned = sum(parameter.numel() for group in method.parameter_groups() for parameter in group["params"])
    assert learned == sum(up.numel() for name, up in weights.items() if name.endswith("lora_up.weight"))


def test_a_limited_norm_shortens_up_alone():
    torch.manual_seed(0)
    method = method_of()
    with torch.no_grad():
        for parameter in method.network.parameters("unet"):
            parameter.normal_()
    before = method.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    method.network.limit_norms(0.5)
    after = method.state_dict()
    ups = [name for name in after if name.startswith("lora_unet") and name.endswith("up.weight")]
    for name in ups:
        down = after[name.replace("lora_up", "lora_down")]
        assert torch.equal(down, before[name.replace("lora_up", "lora_down")])
        assert (after[name].flatten(1) @ down.flatten(1) / 2).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_it_goes_on_from_a_standard_lora(tmp_path: Path):
    first = method_of(lora_type="Standard")
    with torch.no_grad():
        for parameter in first.network.parameters("unet"):
            parameter.normal_()
    file = tmp_path / "first.safetensors"
    save_lora(first.state_dict(), {"ss_network_module": "networks.lora"}, file, torch.float32)
    again = method_of(network_weights=str(file)).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in load_file(file).items())


def test_a_run_moves_up_alone_and_goes_on_to_the_same_bits(trained, tmp_path: Path):
    given = SHORT | GIVEN
    trained(output_name="whole", max_train_steps=4, **given)
    trained(output_name="half", max_train_steps=2, **given)
    trained(output_name="rest", max_train_steps=4, resume=str(tmp_path / "out" / "half-state"), **given)
    whole, half, rest = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "half", "rest"))
    assert all(torch.equal(tensor, rest[name]) for name, tensor in whole.items())
    moved = {name.split(".", 1)[1] for name, tensor in whole.items() if not torch.equal(tensor, half[name])}
    assert moved == {"lora_up.weight"}
    with safe_open(tmp_path / "out" / "whole.safetensors", "pt") as file:
        assert file.metadata()["ss_network_module"] == "networks.lora_fa"


@pytest.mark.parametrize("form", ["int8", "nf4"])
def test_on_narrowed_weights_what_is_frozen_of_the_network_stays_exact(tmp_path: Path, form: Any):
    small("flux").save_pretrained(tmp_path)
    family, parts = loaded(tmp_path, **SETTINGS["flux"])
    settings = TrainingSettings().with_values(GIVEN | {"flux1_checkbox": True})
    method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    quantize(parts.denoiser, form, torch.device("cpu"))
    layers = [layer for layer in parts.denoiser.modules() if isinstance(layer, QuantizedLinear)]
    assert layers
    after = method.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    downs = [module for name, module in parts.denoiser.named_modules() if name.endswith("lora_A.default")]
    assert downs
    assert not any(isinstance(module, QuantizedLinear) for module in downs)
