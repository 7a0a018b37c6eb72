"""What is said of the memory of a run with a network that changes weights."""

from __future__ import annotations

from typing import Any

import pytest

from engine.demo.demo import MODEL_FOLDER
from engine.models.attachments import layers_within
from engine.settings.training import Method, TrainingSettings
from engine.training.estimate import Phase, estimate
from tests.models.loading import loaded

KINDS: dict[str, dict[str, Any]] = {
    "LoHa": {"lora_type": "LyCORIS/LoHa"},
    "LoKr": {"lora_type": "LyCORIS/LoKr"},
    "DoRA": {"lora_type": "LyCORIS/LoCon", "dora_wd": True},
    "Diag-OFT": {"lora_type": "LyCORIS/Diag-OFT"},
}


def training(**changes: Any) -> Phase:
    given = {"pretrained_model_name_or_path": str(MODEL_FOLDER), "max_resolution": "64,64", "mixed_precision": "no",
             "conv_dim": 8, "conv_alpha": 8}  # fmt: skip
    return estimate(TrainingSettings().with_values(given | changes), "cuda").phases["training"]


@pytest.mark.parametrize("kind", KINDS)
def test_of_the_changes_of_all_weights_a_few_are_there_at_once(kind: str):
    """They are as large as the model together: 25 MiB here, where one is of 0.6 MiB at most."""
    _, parts = loaded()
    unet = parts.denoiser
    layers: list[Any] = [unet.get_submodule(path) for path in layers_within(unet, ("ResnetBlock2D",))]
    sizes = [4 * layer.weight.numel() for layer in layers]
    assert 5 * max(sizes) < sum(sizes) / 3
    assert training(**KINDS[kind]).activations < training().activations + 5 * max(sizes)


def test_of_methods_beside_the_lora_s():
    """LECO's peak is that of one prediction with gradients, of its largest set; a hypernetwork is counted in."""
    given = {"pretrained_model_name_or_path": str(MODEL_FOLDER), "max_resolution": "64,64", "mixed_precision": "no",
             "leco_target": "cat"}  # fmt: skip

    def of(method: Method, **changes: Any) -> dict[str, Phase]:
        return estimate(TrainingSettings().for_method(method).with_values(given | changes), "cuda").phases

    leco, larger = of("leco"), of("leco", max_resolution="128,128", train_batch_size=2)
    assert list(leco) == ["captions", "training"]
    assert 6 < larger["training"].activations / leco["training"].activations < 10  # eight times as many latents
    hyper = of("hypernetwork", hypernetwork_structure="1, 4, 1")["training"]
    weights = sum(2 * width * (4 * width) * 2 + 2 * 5 * width for width in (64, 96))
    assert hyper.network == hyper.gradients == 4 * weights
