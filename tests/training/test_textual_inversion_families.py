"""New words in every family whose captions CLIP reads: a table of rows for each of its encoders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.models.conditioning import Reading
from engine.models.new_words import NewWord, taught
from engine.runs.history import History
from engine.settings.training import TrainingSettings
from engine.training.estimate import estimate
from tests.models.loading import loaded
from tests.models.small import SETTINGS, pipeline

Trained = Callable[..., History]

TABLES = {
    "sd2": ["emb_params"], "sd2-depth": ["emb_params"], "sdxl": ["clip_g", "clip_l"], "sdxl-refiner": ["clip_g"],
    "sd3": ["clip_g", "clip_l"], "flux": ["clip_l"],
}  # fmt: skip
"""As sd-scripts' scripts for them name what they save."""

WORD = "zig"


@pytest.mark.parametrize("family", TABLES)
def test_each_clip_s_table_learns_and_is_in_the_file(family: str, trained: Trained, tmp_path: Path):
    pipeline(family).save_pretrained(tmp_path / "model")
    told = SETTINGS[family] | {
        "pretrained_model_name_or_path": str(tmp_path / "model"), "method": "textual_inversion", "token_string": WORD,
        "init_word": "circle", "num_vectors_per_token": 2, "caption_template": "object template", "output_name": WORD,
        "max_train_steps": 2, "optimizer": "AdamW", "mixed_precision": "no",
    }  # fmt: skip
    ends = {}
    for rate in (0.0001, 0.1):
        assert trained(**told | {"output_name": f"{WORD}{rate}"}, learning_rate=rate).last.how == "done"
        ends[rate] = load_file(tmp_path / "out" / f"{WORD}{rate}.safetensors")
    assert sorted(ends[0.1]) == TABLES[family]
    for name, rows in ends[0.1].items():
        assert len(rows) == 2
        assert ((rows - ends[0.0001][name]).abs() > 0.05).any(1).all()  # every vector moved by its rate


@pytest.mark.parametrize("family", ["sd2", "sdxl", "flux"])  # its pipeline of SD 3 loads no words
def test_diffusers_reads_a_prompt_with_the_tables_as_training_does(family: str, tmp_path: Path):
    made: Any = pipeline(family)
    made.save_pretrained(tmp_path / "model")
    ours, parts = loaded(tmp_path / "model", **SETTINGS[family])
    for number, name in enumerate(ours.word_tables):
        table, parts.tokenizers[number] = taught(parts.text_encoders[number], parts.tokenizers[number], [NewWord(WORD)])
        with torch.no_grad():
            table.rows.normal_(std=0.5)
        side = "_2" * number
        made.load_textual_inversion(
            {name: table.rows.detach().clone()}, token=WORD,
            text_encoder=getattr(made, f"text_encoder{side}"), tokenizer=getattr(made, f"tokenizer{side}"),
        )  # fmt: skip
    with torch.no_grad():
        found = ours.encode_text(parts, [f"a {WORD} on a red ground"], Reading())
        theirs = [one for one in made.encode_prompt(f"a {WORD} on a red ground", **_SAID[family]) if one is not None]
    ours_by_shape = {tensor.shape: tensor for tensor in found.values() if tensor.is_floating_point()}
    for one in theirs[: 1 if family == "sd2" else 2]:  # the words' and the whole prompt's; then FLUX's places follow
        torch.testing.assert_close(ours_by_shape[one.shape], one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_a_whole_prompt_is_read_to_its_end_beside_an_old_config_too(family: str, tmp_path: Path):
    """The configs of published models have end token 2, for which transformers takes that with the largest number."""
    pipeline(family).save_pretrained(tmp_path / "model")

    def pooled(text: str) -> torch.Tensor:
        ours, parts = loaded(tmp_path / "model", **SETTINGS[family])
        for number in range(len(ours.word_tables)):
            encoder, tokenizer = parts.text_encoders[number], parts.tokenizers[number]
            _, parts.tokenizers[number] = taught(encoder, tokenizer, [NewWord(WORD)])
        with torch.no_grad():
            return ours.encode_text(parts, [text], Reading())["pooled"]

    expected = pooled(f"a {WORD} red circle")
    for config in (tmp_path / "model").glob("text_encoder*/config.json"):
        if (told := json.loads(config.read_text())).get("model_type") == "clip_text_model":
            config.write_text(json.dumps(told | {"eos_token_id": 2}))
    torch.testing.assert_close(pooled(f"a {WORD} red circle"), expected)
    assert not torch.allclose(pooled(f"a {WORD} blue square"), expected, atol=1e-4)


_SAID: dict[str, dict[str, Any]] = {
    "sd2": {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False},
    "sdxl": {"device": "cpu", "do_classifier_free_guidance": False},
    "flux": {"prompt_2": None, "device": "cpu", "max_sequence_length": 64},
}


@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_its_memory_is_estimated_with_the_text_encoders_that_stay(family: str, tmp_path: Path):
    pipeline(family).save_pretrained(tmp_path / "model")
    values = SETTINGS[family] | {
        "pretrained_model_name_or_path": str(tmp_path / "model"), "max_resolution": "128,128", "token_string": WORD,
        "mixed_precision": "bf16",
    }  # fmt: skip
    words, lora = (
        estimate(TrainingSettings().for_method(method).with_values(values | given), "cuda").phases["training"]
        for method, given in (("textual_inversion", {}), ("lora", {"text_encoder_lr": 0}))
    )
    _, parts = loaded(tmp_path / "model", **SETTINGS[family])
    encoders = sum(p.numel() for encoder in parts.text_encoders for p in encoder.parameters())
    assert words.weights - lora.weights > encoders  # in bytes, of which each has two or more


COMMON = {"masked_loss", "max_grad_norm"}


@pytest.mark.parametrize(
    ("switch", "needed"),
    [
        ("sdxl", {"sdxl_no_half_vae", "weighted_captions"}),
        ("sd3_checkbox", {"clip_l", "clip_g", "t5xxl", "weighting_scheme", "blocks_to_swap"}),
        ("flux1_checkbox", {"flux_vae", "t5xxl", "clip_l", "timestep_sampling", "discrete_flow_shift"}),
    ],
)
def test_the_form_has_the_fields_that_a_family_needs(switch: str, needed: set[str]):
    values = TrainingSettings().with_values({switch: True, "token_string": WORD}).values()
    for method in ("lora", "textual_inversion"):
        shown = {item.name for item in TrainingSettings.options() if item.applies(values | {"method": method})}
        assert shown >= needed | COMMON
