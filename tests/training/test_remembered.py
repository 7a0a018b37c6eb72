"""While CLIP learns, T5 is asked for each caption once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.models.conditioning import Reading
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.remembered import Remembering, remember_t5
from tests.models.loading import loaded
from tests.models.small import pipeline

CAPTIONS = ["a red circle", "a star", ""]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("model", ["flux", "sd3"])
def test_what_was_asked_before_needs_no_t5(model: str, masked: bool, tmp_path: Path):
    pipeline(model).save_pretrained(tmp_path / "model")
    switch = {"flux": "flux1_checkbox", "sd3": "sd3_checkbox"}[model]
    family, parts = loaded(tmp_path / "model", **{switch: True, "apply_t5_attn_mask": masked})
    with torch.no_grad():
        before = family.encode_text(parts, CAPTIONS, Reading())
    encoder = CaptionEncoder(family, parts, Reading(), learns=True)
    remember_t5(encoder, [*CAPTIONS, *CAPTIONS], torch.device("cpu"), CaptionProgress())
    assert isinstance(parts.text_encoders[-1], Remembering)
    asked: list[int] = []
    parts.text_encoders[-1].t5.register_forward_pre_hook(lambda module, given: asked.append(len(given[0])))
    for parameter in parts.text_encoders[0].parameters():
        parameter.requires_grad_(True)
    after = family.encode_text(parts, CAPTIONS[::-1], Reading())
    assert asked == []
    for name, tensor in before.items():
        torch.testing.assert_close(after[name].detach().flip(0), tensor)
    after["pooled"].sum().backward()  # CLIP learns
    assert any(parameter.grad is not None for parameter in parts.text_encoders[0].parameters())
    family.encode_text(parts, ["a star", "something new"], Reading())
    assert asked == [1]
