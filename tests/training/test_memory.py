"""Ways to save memory, in whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.models.parts import Parts
from engine.settings.memory import Memory
from engine.settings.training import TrainingSettings
from engine.training.hardware import learned_dtype
from engine.training.placement import Placement
from tests.models.small import pipeline


def test_a_flux_lora_learns_with_everything_that_saves_memory(trained, tmp_path: Path):
    pipeline("flux").save_pretrained(tmp_path / "model")
    history = trained(
        pretrained_model_name_or_path=str(tmp_path / "model"), flux1_checkbox=True, t5xxl_max_token_length=64,
        base_weights="nf4", blocks_to_swap=3, gradient_checkpointing=True, cpu_offload_checkpointing=True,
        mixed_precision="bf16", full_bf16=True, optimizer="AdamW8bit", text_encoder_lr=0, max_train_steps=6,
        save_precision="bf16", sample_prompts="a red circle --s 2", sample_every_n_steps=3,
    )  # fmt: skip
    assert history.last.how == "done", history.problem
    weights = load_file(tmp_path / "out" / "shapes.safetensors")
    assert any(t.abs().max() > 0 for name, t in weights.items() if name.endswith("lora_up.weight"))
    assert {t.dtype for t in weights.values()} == {torch.bfloat16}
    assert [sample.step for sample in history.samples] == [3, 6]


@pytest.mark.parametrize("fused", [False, True])
def test_a_whole_model_learns_in_bf16_throughout(trained, tmp_path: Path, fused: bool):
    history = trained("finetune", mixed_precision="bf16", full_bf16=True, fused_backward_pass=fused, max_train_steps=3,
                      learning_rate=1e-2, optimizer="Adafactor", optimizer_args="relative_step=False",
                      gradient_checkpointing=True)  # fmt: skip
    assert history.last.how == "done", history.problem


@pytest.mark.shows("full_fp16", "full_bf16")
@pytest.mark.parametrize(
    ("settings", "precision", "dtype"),
    [
        ({}, "bf16", torch.float32),
        ({"full_bf16": True}, "bf16", torch.bfloat16),
        ({"full_bf16": True}, "no", torch.float32),
        ({"full_fp16": True}, "fp16", torch.float16),
        ({"full_fp16": True}, "no", torch.float32),  # a CPU, which computes fp16 as no
    ],
)
def test_what_learns_is_in_half_precision_where_that_is_asked_for(settings: Any, precision: str, dtype: torch.dtype):
    assert learned_dtype(Memory(**settings), precision) == dtype


@pytest.mark.shows("cpu_offload_checkpointing")
def test_what_the_backward_pass_needs_waits_in_main_memory(monkeypatch: pytest.MonkeyPatch):
    """Every tensor that autograd keeps is brought there; the gradients are the same."""
    brought = []
    plain = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: (brought.append(tensor.shape), plain(tensor))[1])
    layer, x = torch.nn.Linear(3, 2), torch.randn(4, 3)
    parts = Parts(layer, layer, [], [])
    gradients = []
    for on in (False, True):
        settings = TrainingSettings().with_values({"cpu_offload_checkpointing": on, "gradient_checkpointing": True})
        layer.zero_grad()
        with Placement(parts, settings, torch.device("cpu"), torch.float32).backward_memory():
            loss = layer(x).square().sum()
        loss.backward()
        gradients.append(layer.weight.grad.clone())
        assert (torch.Size([4, 3]) in brought) == on
    assert torch.equal(*gradients)
