"""The switches follow the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ui.model_switches import SWITCHES, _set


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
    before = {name: "flux" if name == "flux_model_type" else False for name in SWITCHES}
    *after, sentence = _set(str(tmp_path), *before.values())
    assert dict(zip(SWITCHES, after, strict=True)) == before | right
    assert "the form is set for it" in sentence
    assert isinstance(_set(str(tmp_path), *after)[0], dict)  # nothing more to change
