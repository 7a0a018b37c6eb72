"""A network of another kind is trained, saved under its type, and gone on with to the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

KINDS: dict[str, dict[str, Any]] = {
    "lokr": {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4, "rank_dropout": 0.2, "scale_weight_norms": 1},
    "loha": {"lora_type": "LyCORIS/LoHa", "dora_wd": True, "module_dropout": 0.2, "loraplus_lr_ratio": 4},
    "dylora": {"lora_type": "LyCORIS/DyLoRA", "dylora_unit": 2, "module_dropout": 0.2},
}
"""Without and with what hangs on the original weight, and one that draws in each pass; all: networks/test_kinds.py."""

SHORT = {"lr_scheduler": "constant", "save_precision": "float", "conv_dim": 2, "save_state_on_train_end": True,
         "gradient_checkpointing": True, "mixed_precision": "bf16"}  # fmt: skip


def test_a_network_that_reaches_nothing_is_refused_in_a_sentence(trained):
    history = trained(lora_type="LyCORIS/LoKr", lycoris_preset="unet-only", unet_lr=0, learning_rate=0)
    assert history.last.how == "failed"
    assert history.problem.option == "lycoris_preset"
    assert history.problem.what == "LyCORIS Preset unet-only reaches no layer of this model that is trained."


@pytest.mark.parametrize("algo", KINDS)
def test_a_kind_learns_says_what_it_is_and_goes_on_to_the_same_bits(trained, tmp_path: Path, algo: str):
    given = SHORT | KINDS[algo]
    whole = trained(output_name="whole", max_train_steps=4, **given)
    trained(output_name="first", max_train_steps=2, **given)
    state = str(tmp_path / "out" / "first-state")
    trained(output_name="second", max_train_steps=4, resume=state, **given)
    assert whole.last.how == "done"
    ours, again, half = (load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "second", "first"))
    assert ours.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in ours.items())
    assert any(not torch.equal(tensor, half[name]) for name, tensor in ours.items())
    with safe_open(tmp_path / "out" / "whole.safetensors", "pt") as file:
        told = file.metadata()
    assert told["ss_network_module"] == "lycoris.kohya"
    assert json.loads(told["ss_network_args"])["algo"] == algo
