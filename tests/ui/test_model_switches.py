"""The switches follow the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.check.model import FAMILY_OPTIONS
from ui.model_switches import switches_for


@pytest.mark.parametrize(
    ("pipeline", "right"),
    [
        ("ChromaPipeline", {"flux1_checkbox": True, "flux_model_type": "chroma"}),
        ("FluxPipeline", {"flux1_checkbox": True}),
        ("Lumina2Pipeline", {"lumina_checkbox": True}),
    ],
)
def test_the_form_is_set_for_a_model_with_a_transformer(pipeline: str, right: dict[str, Any], tmp_path: Path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    before = {name: "flux" if name == "flux_model_type" else False for name in FAMILY_OPTIONS}
    changes, sentence = switches_for(str(tmp_path), before)
    assert before | changes == before | right
    assert "the form has been set up for it" in sentence
    assert switches_for(str(tmp_path), before | changes) == ({}, sentence)  # nothing more to change


@pytest.mark.parametrize("model", ["", "C:/models/a.safetensors", "owner/model", "\0", "/nowhere"])
def test_what_cannot_be_recognised_changes_nothing(model: str):
    assert switches_for(model, {}) == ({}, "")
