"""DreamArtist: two words, between which steps and pictures are guided."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.check.new_words import check_new_words
from engine.demo.judge import judge, scenes_of
from engine.demo.shapes import SIZE
from engine.models.conditioning import Reading
from engine.objective.objective import Corrupted
from engine.runs.history import History
from engine.settings.training import TrainingSettings
from engine.training.dreamartist_method import DreamArtistMethod
from engine.training.model import Examples, Model
from tests.models.loading import loaded
from tests.training.test_textual_inversion import GIVEN, WORD, crosses, pipeline

Trained = Callable[..., History]

__all__ = ["crosses"]

BOTH = GIVEN | {"dreamartist": True, "negative_vectors": 2, "dreamartist_guidance": 4.0}


@pytest.mark.shows("dreamartist", "dreamartist_guidance", "negative_vectors", "negative_init_word")
@pytest.mark.parametrize("count", [12, 1])
def test_the_words_draw_together_what_the_pictures_show(trained: Trained, crosses: Path, tmp_path: Path, count: int):
    """The paper's own case is a single picture."""
    for file in (crosses / "10_zig").iterdir():
        if int(file.stem) >= count:
            file.unlink()
    history = trained(**BOTH, train_data_dir=str(crosses), caption_extension=".txt", learning_rate=0.02,
                      train_batch_size=8, max_train_steps=60, min_snr_gamma=5, negative_init_word="blue")  # fmt: skip
    assert history.last.how == "done"
    rows = load_file(tmp_path / "out" / f"{WORD}-neg.safetensors")["emb_params"]
    assert len(rows) == 2
    drawn_by = pipeline()
    begun = drawn_by.text_encoder.get_input_embeddings().weight[drawn_by.tokenizer("blue").input_ids[1]]
    assert ((rows - begun).abs().amax(1) > 0.1).all()
    for word in (WORD, f"{WORD}-neg"):
        drawn_by.load_textual_inversion(str(tmp_path / "out" / f"{word}.safetensors"), token=word)
    scenes = scenes_of(("cross",), 24)
    pictures = drawn_by(
        [scene.caption().replace("cross", WORD) for scene in scenes], negative_prompt=[f"{WORD}-neg"] * len(scenes),
        num_inference_steps=10, guidance_scale=4.0, height=SIZE, width=SIZE, generator=torch.Generator().manual_seed(1),
    ).images  # fmt: skip
    assert sum(judge(picture).shape == "cross" for picture in pictures) > 0.8 * len(pictures)


def test_a_run_goes_on_to_the_same_bits(trained: Trained, tmp_path: Path):
    given: dict[str, Any] = BOTH | {"caption_template": "object template", "save_state_on_train_end": True}
    trained(**given | {"output_name": "whole", "max_train_steps": 4})
    trained(**given | {"output_name": "first", "max_train_steps": 2})
    trained(**given | {"output_name": "second", "max_train_steps": 4, "resume": str(tmp_path / "out" / "first-state")})
    for end in ("", "-neg"):
        whole, second, first = (
            load_file(tmp_path / "out" / f"{name}{end}.safetensors")["emb_params"]
            for name in ("whole", "second", "first")
        )
        assert torch.equal(whole, second)
        assert not torch.equal(whole, first)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_step_is_guided_from_the_negative_word_to_the_captions(guidance: float):
    settings = (
        TrainingSettings()
        .for_method("textual_inversion")
        .with_values({name: one for name, one in BOTH.items() if name != "method"} | {"dreamartist_guidance": guidance})
    )
    family, parts = loaded()
    method = DreamArtistMethod(family, parts, settings)
    model = Model(
        family=family, parts=parts, objective=family.objective(settings, parts), dtype=torch.float32,
        device=torch.device("cpu"), autocast=nullcontext, offload=nullcontext,
    )  # fmt: skip
    sizes = torch.tensor([[64, 64, 0, 0, 64, 64]])
    noisy = Corrupted(torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), torch.tensor([500]))
    with torch.no_grad():
        positive, negative = (
            family.predict(parts, noisy.noisy, noisy.timesteps, family.encode_text(parts, [text], Reading()), sizes)
            for text in (f"a {WORD}", f"{WORD}-neg")
        )
        told = family.encode_text(parts, [f"a {WORD}"], Reading())
        shown = Examples(latents=torch.ones(1, 4, 8, 8), sizes=sizes, mask=None, conditioning=lambda: told)
        found = method.predict(model, shown, noisy)
    torch.testing.assert_close(found, guidance * positive + (1 - guidance) * negative)
    assert not torch.allclose(positive, negative, atol=1e-4)


def test_both_words_go_on_from_their_files(trained: Trained, tmp_path: Path):
    given: dict[str, Any] = BOTH | {"caption_template": "object template", "max_train_steps": 2}
    out = tmp_path / "out"
    trained(**given | {"output_name": "first", "learning_rate": 0.05})
    further = {"output_name": "still", "learning_rate": 1e-12, "embedding_weights": str(out / "first.safetensors")}
    trained(**given | further)
    for end in ("", "-neg"):
        first, still = (load_file(out / f"{name}{end}.safetensors")["emb_params"] for name in ("first", "still"))
        torch.testing.assert_close(first, still)


def test_an_empty_negative_init_word_is_said_before_the_start():
    given = {"token_string": "zig", "dreamartist": True, "negative_init_word": " "}
    settings = TrainingSettings().for_method("textual_inversion").with_values(given)
    found = [problem for problem in check_new_words([], settings) if problem.option == "negative_init_word"]
    assert [problem.what for problem in found] == ["Negative init word is empty."]
