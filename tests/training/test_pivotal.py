"""Pivotal tuning: a LoRA and the words that call it, in one file or in several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from engine.check.check import check
from engine.check.new_words import check_new_words
from engine.demo.demo import MODEL_FOLDER
from engine.demo.shapes import SHAPES
from engine.networks.described import described
from engine.runs.history import History
from engine.settings.training import TrainingSettings
from tests.training.test_textual_inversion import WORD, crosses, share

Trained = Callable[..., History]

__all__ = ["crosses"]

GIVEN: dict[str, Any] = {
    "pivotal": True, "token_string": WORD, "init_word": "circle", "output_name": "both", "lr_scheduler": "constant",
    "save_precision": "float", "words_lr": 0.02, "network_dim": 4, "optimizer_args": "weight_decay=0",
}  # fmt: skip
IN_FILE = f"bundle_emb.{WORD}.string_to_param.*"


@pytest.mark.shows("pivotal", "words_lr")
def test_the_word_and_the_lora_learn_together(trained: Trained, crosses: Path, tmp_path: Path):
    history = trained(**GIVEN, train_data_dir=str(crosses), caption_extension=".txt", train_batch_size=8,
                      max_train_steps=60, min_snr_gamma=5, unet_lr=1e-3, text_encoder_lr=0)  # fmt: skip
    assert history.last.how == "done"
    made: Any = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    made.set_progress_bar_config(disable=True)
    before = share(made, SHAPES[0], SHAPES[0])
    made.load_textual_inversion(str(tmp_path / "out" / f"both-{WORD}.safetensors"), token=WORD)
    assert share(made, WORD, "cross") > 0.8  # it began as a word for circles
    made.load_lora_weights(str(tmp_path / "out" / "both.safetensors"))
    assert share(made, WORD, "cross") > 0.8
    ups = [one for name, one in load_file(tmp_path / "out" / "both.safetensors").items() if "lora_up" in name]
    assert all(up.any() for up in ups)
    assert share(made, SHAPES[0], SHAPES[0]) > before - 0.25


BRIEF = GIVEN | {"caption_template": "object template", "num_vectors_per_token": 2, "max_train_steps": 2}


@pytest.mark.shows("save_words")
@pytest.mark.parametrize(
    ("save_words", "in_lora", "apart"),
    [("as files", False, True), ("in the LoRA file", True, False), ("both", True, True)],
)
def test_words_are_saved_where_they_are_wanted(
    trained: Trained, tmp_path: Path, save_words: str, in_lora: bool, apart: bool
):
    assert trained(**BRIEF, save_words=save_words).last.how == "done"
    assert {file.name for file in (tmp_path / "out").glob("*.safetensors")} == {
        "both.safetensors",
        *[f"both-{WORD}.safetensors"] * apart,
    }
    lora = load_file(tmp_path / "out" / "both.safetensors")
    assert any(name.startswith("lora_unet_") for name in lora)
    assert (IN_FILE in lora) == in_lora
    if in_lora and apart:
        assert torch.equal(lora[IN_FILE], load_file(tmp_path / "out" / f"both-{WORD}.safetensors")["emb_params"])


def test_a_run_goes_on_to_the_same_bits(trained: Trained, tmp_path: Path):
    given = BRIEF | {"save_words": "in the LoRA file", "save_state_on_train_end": True, "dim_from_weights": False}
    trained(**given | {"output_name": "whole", "max_train_steps": 4})
    trained(**given | {"output_name": "first"})
    trained(**given | {"output_name": "second", "max_train_steps": 4, "resume": str(tmp_path / "out" / "first-state")})
    whole, second, first = (
        load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "second", "first")
    )
    assert whole.keys() == second.keys()
    assert all(torch.equal(whole[name], second[name]) for name in whole)
    assert not torch.equal(whole[IN_FILE], first[IN_FILE])


def test_its_own_file_is_told_of_and_gone_on_with_whole(trained: Trained, settings: TrainingSettings, tmp_path: Path):
    trained(**BRIEF | {"words_lr": 0.1}, save_words="in the LoRA file")
    file = tmp_path / "out" / "both.safetensors"
    told = described(file)
    assert f"It comes with the new word {WORD}." in told.sentences()
    assert {"pivotal": True, "token_string": WORD, "num_vectors_per_token": 2}.items() <= told.values().items()

    trained(**BRIEF | {"output_name": "more", "words_lr": 1e-6}, network_weights=str(file), save_words="both")
    more = load_file(tmp_path / "out" / f"more-{WORD}.safetensors")["emb_params"]
    torch.testing.assert_close(more, load_file(file)[IN_FILE], atol=1e-5, rtol=0)

    plain = settings.with_values({"network_dim": 4, "network_weights": str(file)})
    for changes, option in (({}, "pivotal"), ({"pivotal": True, "token_string": "zag"}, "token_string")):
        found = {problem.option: problem for problem in reversed(check(plain.with_values(changes)).problems)}
        assert (
            found[option].what
            == (f'both.safetensors comes with the new word "{WORD}", which this run does not teach: it would be lost.')
            or option == "token_string"
        )
        assert found[option].blocking


def test_beside_a_ckpt_words_are_files_that_programs_read(trained: Trained, tmp_path: Path):
    trained(**BRIEF | {"save_model_as": "ckpt"})
    assert sorted(file.suffix for file in (tmp_path / "out").iterdir() if file.is_file()) == [".ckpt", ".pt"]


@pytest.mark.parametrize(("saved", "is_refused"), [("as files", False), ("in the LoRA file", True), ("both", True)])
def test_a_dot_would_end_the_name_of_a_word_in_a_lora_file(saved: str, is_refused: bool):
    settings = TrainingSettings().with_values({"pivotal": True, "token_string": "my.cat", "save_words": saved})
    found = [problem for problem in check_new_words([], settings) if "contains a dot" in problem.what]
    assert bool(found) == is_refused
