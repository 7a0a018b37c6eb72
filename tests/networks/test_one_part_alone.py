"""Patterns may leave layers of one part alone, whatever its learning rate is."""

from __future__ import annotations

import pytest
import torch

from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded


@pytest.mark.parametrize(("kept", "part"), [("^lora_te_", "text_encoder"), ("^lora_unet_", "unet")])
@pytest.mark.parametrize("kind", ["Standard", "LoRA-FA", "LyCORIS/LoHa"])
def test_a_part_of_which_patterns_leave_no_layer_gets_no_network(kind: str, kept: str, part: str):
    given = {"lora_type": kind, "conv_dim": 4, "exclude_patterns": ".*", "include_patterns": kept}
    rates = {"unet_lr": 1e-4, "text_encoder_lr": 1e-4}
    settings = TrainingSettings().with_values(given | rates)
    family, parts = loaded()
    method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    assert [group["name"] for group in method.parameter_groups()] == [part]
