"""The bar of the memory that a run would need."""

from __future__ import annotations

from typing import Any

import pytest

from engine.demo.demo import MODEL_FOLDER
from engine.settings.training import TrainingSettings
from engine.training.estimate import estimate
from ui.memory_panel import PHASES, asked, memory_html

GIB = 2**30
PHASE = {"weights": 5 * GIB, "network": 0, "gradients": 0, "optimizer": GIB, "activations": 3 * GIB}


def found(free: int, **changes: Any) -> dict[str, Any]:
    room = {"device": "cuda", "name": "<b>GPU</b>", "free": free, "total": 12 * GIB}
    return {"room": room, "phases": {"training": PHASE}, "program": GIB, "fullest": "training", "ways": [], **changes}


def test_whether_it_fits_is_said():
    assert "will not fit" in memory_html(found(9 * GIB))
    fits = memory_html(found(11 * GIB))
    assert "will not fit" not in fits
    assert "<b>10.0 GB</b>" in fits
    assert "&lt;b&gt;GPU" in fits  # what a driver says is no markup
    assert "gradients" not in fits.partition("legend")[2]  # what is nothing needs no place there


def test_the_ways_that_save_most_come_first():
    ways = [{"words": "a little", "changes": {"cache_latents": True}, "saves": GIB // 2},
            {"words": "much", "changes": {"gradient_checkpointing": True}, "saves": 2 * GIB}]  # fmt: skip
    html = memory_html(found(9 * GIB, ways=ways))
    assert html.index("much: −2.0 GB") < html.index("a little: −0.5 GB")
    assert "{&quot;gradient_checkpointing&quot;: true}" in html


def test_the_engine_is_asked_and_answers_bit_by_bit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = TrainingSettings().with_values(
        {"pretrained_model_name_or_path": str(MODEL_FOLDER), "train_batch_size": 8, "max_resolution": "128,128",
         "mixed_precision": "no", "text_encoder_lr": 0}
    )  # fmt: skip
    first, *more = asked(settings)
    assert first["ways"] == []
    assert first["room"]["device"] in ("cpu", "cuda")
    assert more[-1]["ways"]
    assert more[-1]["phases"] == first["phases"]
    gone = settings.with_values({"pretrained_model_name_or_path": "owner/model"})
    assert "is not on this machine" in next(iter(asked(gone)))["failure"]


def test_every_part_of_a_run_has_words():
    values = {"pretrained_model_name_or_path": str(MODEL_FOLDER), "max_resolution": "64,64", "sample_prompts": "a"}
    for method in ("lora", "finetune"):
        settings = TrainingSettings().for_method(method).with_values({**values, "text_encoder_lr": 0})
        assert set(estimate(settings, "cpu").phases) <= set(PHASES)
