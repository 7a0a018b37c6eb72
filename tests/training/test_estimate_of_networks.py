"""What is said of the memory of a run with a network that changes weights."""

from __future__ import annotations

from typing import Any

import pytest

from engine.demo.demo import MODEL_FOLDER
from engine.models.attachments import layers_within
from engine.settings.training import TrainingSettings
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
