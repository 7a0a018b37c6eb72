"""Base weights in 8 and 4 bits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.models.conditioning import Reading
from engine.models.flux import Flux
from engine.models.parts import Parts
from engine.models.quantize import QuantizedLinear, quantize
from engine.networks.lora import LoraNetwork
from engine.settings.memory import BaseFormat, Memory
from engine.settings.training import TrainingSettings
from tests.models.small import pipeline

CPU = torch.device("cpu")
BITS = {"fp8": 8, "int8": 8, "nf4": 4.25}


@pytest.fixture(scope="module")
def model() -> Any:
    return pipeline("flux")


def parts_of(model: Any) -> Parts:
    parts = Parts(
        copy.deepcopy(model.transformer), model.vae, [model.text_encoder, copy.deepcopy(model.text_encoder_2)],
        [model.tokenizer, model.tokenizer_2], "flow",
    )  # fmt: skip
    for module in parts.modules():
        module.requires_grad_(False)
    return parts


def answer(parts: Parts) -> Tensor:
    torch.manual_seed(2)
    family = Flux(TrainingSettings())
    encoded = family.encode_text(parts, ["a red circle"], Reading())
    return family.predict(parts, torch.randn(1, 16, 8, 8), torch.tensor([500.0]), encoded, torch.zeros(1, 6))


def block_bytes(module: nn.Module) -> int:
    return sum(
        tensor.nbytes
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        if "blocks" in name and name.endswith("weight") and "norm_" not in name
    )


@pytest.mark.parametrize("form", ["fp8", "int8", "nf4"])
def test_an_answer_stays_near_and_the_blocks_shrink(model: Any, form: BaseFormat):
    parts = parts_of(model)
    exact, before = answer(parts), block_bytes(parts.denoiser)
    quantize(parts.denoiser, form, CPU)
    assert block_bytes(parts.denoiser) <= before * BITS[form] / 32 * 1.02
    error = (answer(parts) - exact).norm() / exact.norm()
    assert 0 < error < {"fp8": 0.03, "int8": 0.03, "nf4": 0.12}[form]


@pytest.mark.parametrize("form", ["fp8", "int8", "nf4"])
def test_a_lora_learns_on_it_as_on_the_exact_weights(model: Any, form: BaseFormat):
    """Its gradients point the same way, under autocast and with checkpointing too, and the base gets none."""

    def gradients(narrowed: bool) -> Tensor:
        parts = parts_of(model)
        torch.manual_seed(0)
        network = LoraNetwork(Flux(TrainingSettings()).lora_targets(parts)[1:], rank=4, alpha=4)
        if narrowed:
            quantize(parts.denoiser, form, CPU)
        parts.denoiser.enable_gradient_checkpointing()
        parts.denoiser.train()
        with torch.autocast("cpu", torch.bfloat16):
            answer(parts).square().mean().backward()
        assert not any(p.requires_grad for n, p in parts.denoiser.named_parameters() if "lora_" not in n)
        return torch.cat([p.grad.flatten() for p in network.parameters("unet") if p.grad is not None])

    exact, narrowed = gradients(False), gradients(True)
    assert exact.norm() > 0
    assert torch.cosine_similarity(exact, narrowed, 0) > 0.97


def test_fp8_rounds_each_row_by_its_own_largest_weight():
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[448.0, 1.0, -2.0, 0.0], [0.00448, 0.00001, -0.00002, 0.0]])
    narrowed = QuantizedLinear(layer, "fp8", CPU)
    torch.testing.assert_close(narrowed(torch.eye(4)).T, layer.weight.data)
    x = torch.randn(3, 4, requires_grad=True)
    narrowed(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.data.sum(0).expand(3, 4))


def test_t5_keeps_the_layer_that_asks_for_its_own_format(model: Any):
    parts = parts_of(model)
    before = answer(parts)
    quantize(parts.text_encoders[1], "fp8", CPU)
    kinds = {name.rpartition(".")[2]: type(module) for name, module in parts.text_encoders[1].named_modules()}
    assert kinds["wo"] is nn.Linear
    assert kinds["wi_0"] is QuantizedLinear
    assert 0 < (answer(parts) - before).norm() / before.norm() < 0.03


@pytest.mark.shows("base_weights", "fp8_base", "fp8_base_unet")
@pytest.mark.parametrize(
    ("values", "denoiser", "encoders"),
    [
        ({}, None, None),
        ({"fp8_base": True}, "fp8", "fp8"),
        ({"fp8_base_unet": True}, "fp8", None),
        ({"base_weights": "nf4"}, "nf4", "nf4"),
        ({"base_weights": "nf4", "fp8_base": True}, "nf4", "nf4"),
    ],
)
def test_which_parts_are_narrowed(values: dict[str, Any], denoiser: str | None, encoders: str | None):
    memory = Memory(**values)
    assert (memory.base_format(), memory.encoder_format()) == (denoiser, encoders)
