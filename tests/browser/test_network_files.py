"""The utility that looks at a LoRA file, and the form that is filled in from one that says nothing of itself."""

from __future__ import annotations

from pathlib import Path

import torch
from playwright.sync_api import expect
from safetensors.torch import save_file

UNET = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def test_a_file_without_a_word_about_itself(open_page, tmp_path: Path):
    tensors = {"lokr_w1": torch.ones(4, 4), "lokr_w2_a": torch.ones(80, 8), "lokr_w2_b": torch.ones(8, 80)}
    weights = {f"{UNET}.{end}": tensor for end, tensor in (tensors | {"alpha": torch.tensor(2.0)}).items()}
    save_file(weights, tmp_path / "cat.safetensors")
    page = open_page()
    page.tab("Utilities", "LoRA metadata")
    page.page.locator("#metadata-path :is(textarea, input)").fill(str(tmp_path / "cat.safetensors"))
    page.button("Show").click()
    expect(page.page.locator("#metadata-said")).to_contain_text("This is a LoKr for")
    expect(page.page.locator("#metadata-said")).to_contain_text("Rank: 8.")
    page.button("Train like this one").click()
    expect(page.page.locator("#said")).to_contain_text("The file does not say what kind of network it is")
    assert page.value("lora_type") == "Kohya LoKr"
    assert (page.value("network_dim"), float(page.value("network_alpha"))) == ("8", 2.0)
    assert page.value("lokr_factor") == "4"
