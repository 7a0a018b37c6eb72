"""Textual inversion: new words are learned, and nothing else of the model changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from engine.demo.demo import MODEL_FOLDER
from engine.demo.judge import judge, scenes_of
from engine.demo.shapes import SHAPES, SIZE, draw, random_scene
from engine.runs.history import History
from ui.run_files import downloadable

Trained = Callable[..., History]

WORD = "zig"
GIVEN: dict[str, Any] = {
    "method": "textual_inversion", "token_string": WORD, "init_word": "circle", "output_name": WORD,
    "lr_scheduler": "constant", "save_precision": "float", "optimizer_args": "weight_decay=0",
}  # fmt: skip


@pytest.fixture
def crosses(tmp_path: Path) -> Path:
    """Pictures of crosses, whose captions call them by the new word."""
    rng, folder = random.Random(3), tmp_path / "crosses" / "10_zig"
    folder.mkdir(parents=True)
    for number in range(12):
        scene = random_scene(rng, ("cross",))
        draw(scene).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(scene.caption().replace("cross", WORD), encoding="utf-8")
    return folder.parent


def pipeline() -> Any:
    made = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    made.set_progress_bar_config(disable=True)
    return made


def share(drawn_by: Any, word: str, shape: str) -> float:
    """Of the prompts about the word, those whose pictures show the shape."""
    prompts = [scene.caption().replace(shape, word) for scene in scenes_of((shape,), 24)]
    pictures: list[Image.Image] = drawn_by(
        prompts, num_inference_steps=10, guidance_scale=4.0, height=SIZE, width=SIZE,
        generator=torch.Generator().manual_seed(11),
    ).images  # fmt: skip
    return sum(judge(picture).shape == shape for picture in pictures) / len(pictures)


@pytest.mark.shows("token_string", "init_word")
def test_a_word_is_learned_and_diffusers_draws_with_its_file_what_ordinary_prompts_stay(
    trained: Trained, crosses: Path, tmp_path: Path
):
    history = trained(**GIVEN, train_data_dir=str(crosses), caption_extension=".txt", learning_rate=0.02,
                      train_batch_size=8, max_train_steps=60, min_snr_gamma=5)  # fmt: skip
    assert history.last.how == "done"
    drawn_by = pipeline()
    assert share(drawn_by, "circle", "cross") < 0.2  # what the word begins as
    before = {shape: share(drawn_by, shape, shape) for shape in SHAPES[:2]}
    drawn_by.load_textual_inversion(str(tmp_path / "out" / f"{WORD}.safetensors"), token=WORD)
    assert share(drawn_by, WORD, "cross") > 0.8
    assert {shape: share(drawn_by, shape, shape) for shape in SHAPES[:2]} == before


@pytest.mark.shows("num_vectors_per_token")
def test_every_word_has_its_file_of_so_many_vectors_and_the_model_s_own_rows_move_nowhere(
    trained: Trained, tmp_path: Path
):
    history = trained(**GIVEN | {"token_string": "zig, zag"}, num_vectors_per_token=2, max_train_steps=2,
                      caption_prefix="zig zag", save_every_n_steps=1)  # fmt: skip
    assert history.last.how == "done"
    names = {file.name for file in (tmp_path / "out").glob("*.safetensors")}
    assert names == {f"{stem}{word}.safetensors" for stem in ("zig", "zig-step00000001", "zig-step00000002")
                     for word in ("", "-zag")}  # fmt: skip
    tables = [load_file(tmp_path / "out" / f"zig{word}.safetensors") for word in ("", "-zag")]
    assert [table.keys() for table in tables] == [{"emb_params"}] * 2
    width = load_file(MODEL_FOLDER / "text_encoder" / "model.safetensors")[TABLE].shape[1]
    assert [tuple(table["emb_params"].shape) for table in tables] == [(2, width)] * 2


TABLE = "text_model.embeddings.token_embedding.weight"


@pytest.mark.shows("embedding_weights")
def test_a_word_begins_as_its_file_and_one_that_does_not_fit_is_refused(trained: Trained, tmp_path: Path):
    rows = torch.randn(2, 64)
    save_file({"emb_params": rows}, tmp_path / "old.safetensors")
    told = {"embedding_weights": str(tmp_path / "old.safetensors"), "caption_prefix": WORD, "max_train_steps": 1}
    trained(**GIVEN, **told, num_vectors_per_token=2, learning_rate=1e-6)
    found = load_file(tmp_path / "out" / "zig.safetensors")["emb_params"]
    torch.testing.assert_close(found, rows, atol=1e-5, rtol=0)
    refused = trained(**GIVEN | {"output_name": "other"}, **told, num_vectors_per_token=3)
    assert refused.last.how == "failed"
    assert refused.problem.option == "num_vectors_per_token"
    assert refused.problem.what == "old.safetensors has 2 vectors, but Vectors is 3."


@pytest.mark.shows("caption_template")
def test_a_template_s_sentences_take_the_captions_place(trained: Trained, tmp_path: Path):
    """Without the word no sentence could teach it: the pictures' own captions do not have it."""
    seen = trained(**GIVEN, caption_template="style template", max_train_steps=1, learning_rate=0.1)
    assert seen.last.how == "done"
    moved = load_file(tmp_path / "out" / "zig.safetensors")["emb_params"]
    unseen = trained(**GIVEN | {"output_name": "unseen"}, max_train_steps=1, learning_rate=0.1)
    assert unseen.last.how == "done"
    begun = load_file(tmp_path / "out" / "unseen.safetensors")["emb_params"]
    table = load_file(MODEL_FOLDER / "text_encoder" / "model.safetensors")[TABLE]
    assert (table == begun).all(1).any()
    assert not (table == moved).all(1).any()


def test_samples_read_the_word_and_those_without_it_stay(trained: Trained, tmp_path: Path):
    trained(**GIVEN, caption_template="object template", learning_rate=0.5, max_train_steps=2, sample_at_first=True,
            sample_every_n_steps=2, sample_prompts=f"a red {WORD} --s 4 --d 1\na red square --s 4 --d 1")  # fmt: skip
    pictures = {file.name: file.read_bytes() for file in (tmp_path / "out" / "sample").glob("*.png")}
    of_word, others = ({data for name, data in pictures.items() if f"_{number}_" in name} for number in ("00", "01"))
    assert (len(pictures), len(of_word), len(others)) == (4, 2, 1)


def test_a_run_goes_on_to_the_same_bits(trained: Trained, tmp_path: Path):
    given = GIVEN | {"caption_template": "object template", "num_vectors_per_token": 2, "mixed_precision": "bf16",
                     "gradient_checkpointing": True, "save_state_on_train_end": True}  # fmt: skip
    trained(**given | {"output_name": "whole", "max_train_steps": 4})
    trained(**given | {"output_name": "first", "max_train_steps": 2})
    state = str(tmp_path / "out" / "first-state")
    trained(**given | {"output_name": "second", "max_train_steps": 4, "resume": state})
    whole, second, first = (
        load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "second", "first")
    )
    assert torch.equal(whole["emb_params"], second["emb_params"])
    assert not torch.equal(whole["emb_params"], first["emb_params"])
    other = trained(**given | {"output_name": "other", "token_string": "zag", "max_train_steps": 4, "resume": state})
    assert other.last.how == "failed"
    assert "new words" in other.problem.mend


def test_the_files_of_all_words_can_be_downloaded(trained: Trained, tmp_path: Path):
    history = trained(**GIVEN | {"token_string": "zig, zag"}, caption_prefix="zig zag", max_train_steps=2, ema=True,
                      ema_save="beside")  # fmt: skip
    names = [file.name for file in downloadable(history)]
    assert sorted(names) == ["zig-ema-zag.safetensors", "zig-ema.safetensors", "zig-zag.safetensors", "zig.safetensors"]
    assert names[-1] == "zig.safetensors"  # the newest is the run's own
