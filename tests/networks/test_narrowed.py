"""Networks on frozen weights in 8 or 4 bits predict what their formula does in those weights, made wide again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.models.quantize import QuantizedLinear, quantize
from engine.networks.made import reach_of
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.test_kinds import attached, merge, prediction, settings_for

CPU = torch.device("cpu")
VARIANTS = ("LoCon, scalar", "LoHa, DoRA", "LoKr", "DyLoRA", "T-LoRA", "GLoRA", "(IA)3", "BOFT", "Flux1 OFT")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("flux")
    small("flux").save_pretrained(folder)
    return loaded(folder, **SETTINGS["flux"])


def widened(layer: QuantizedLinear) -> nn.Linear:
    weight = layer.widened(torch.float32)()
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if layer.bias is not None:
            linear.bias.copy_(layer.bias)
    return linear


@pytest.mark.parametrize(("variant", "form"), [*((one, "nf4") for one in VARIANTS), ("DyLoRA", "int8")])
def test_a_network_on_narrowed_weights_predicts_what_is_merged_into_them(model: Any, variant: str, form: Any):
    family, parts = model[0], copy.deepcopy(model[1])
    plain = copy.deepcopy(parts)
    network, _ = attached(variant, family, parts)
    for each in (parts, plain):
        quantize(each.denoiser, form, CPU)
    for path, layer in list(plain.denoiser.named_modules()):
        if isinstance(layer, QuantizedLinear):
            plain.denoiser.set_submodule(path, widened(layer))
    before = prediction(family, plain)
    merge(network.file_weights(), family.lora_targets(plain, reach_of(settings_for(variant))))
    ours = prediction(family, parts)
    torch.testing.assert_close(ours, prediction(family, plain), atol=1e-4, rtol=1e-4)
    assert (ours - before).abs().max() > 1e-3
