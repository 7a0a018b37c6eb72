"""New words in a text encoder: read as tokens of their own, while all that it knew stays bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models.clip import read, words_of
from engine.models.conditioning import Reading
from engine.models.new_words import NewWord, TokenizerWithWords, taught
from tests.models.loading import loaded

Pair = tuple[Any, Any]


@pytest.fixture
def clip() -> Pair:
    """The built-in model's text encoder and tokenizer."""
    _, parts = loaded()
    return parts.text_encoders[0], parts.tokenizers[0]


def ids(tokenizer: Any, text: str) -> list[int]:
    return words_of(tokenizer, [text])[0]


def test_a_word_is_read_as_its_tokens_wherever_it_stands_as_a_word(clip: Pair):
    encoder, plain = clip
    first = encoder.get_input_embeddings().num_embeddings
    _, tokenizer = taught(encoder, plain, [NewWord("zig", 2), NewWord("zig-zag")])
    assert ids(tokenizer, "a red Zig, on a ZIG") == [
        *ids(plain, "a red"), first, first + 1, *ids(plain, ", on a"), first, first + 1,
    ]  # fmt: skip
    assert ids(tokenizer, "zig-zag") == [first + 2]  # the longer word
    for other in ("zigs", "azig", "a red circle", ""):
        assert ids(tokenizer, other) == ids(plain, other)
    tokens, weights = read(tokenizer, ["a (zig:1.5)"], Reading(weighted=True))
    assert tokens[0, 0, 2:4].tolist() == [first, first + 1]
    assert weights[0, 0, :5].tolist() == pytest.approx([1, 1, 1.5, 1.5, 1])


@pytest.mark.parametrize(
    ("word", "text", "stands"),
    [
        ("zig", "a zıg on red", False),  # a letter that only looks alike where case is ignored
        ("İz", "a i̇z on red", True),
        ("cafe\u0301x", "a CAF\u00c9X on red", True),  # composed otherwise
    ],
)
def test_letters_are_compared_as_clip_reads_them(clip: Pair, word: str, text: str, stands: bool):
    encoder, plain = clip
    first = encoder.get_input_embeddings().num_embeddings
    _, tokenizer = taught(encoder, plain, [NewWord(word)])
    assert (first in ids(tokenizer, text)) == stands


def test_what_was_known_stays_bit_for_bit_and_the_new_rows_alone_learn(clip: Pair):
    encoder, plain = clip
    encoder.requires_grad_(False)
    known = encoder.get_input_embeddings().weight.clone()
    chunks, _ = read(plain, ["a red circle"], Reading())
    before = encoder(chunks[0]).last_hidden_state
    table, tokenizer = taught(encoder, plain, [NewWord("zig", 2, "red")])
    assert torch.equal(encoder(chunks[0]).last_hidden_state, before)
    new, _ = read(tokenizer, ["a zig circle"], Reading())
    optimizer = torch.optim.AdamW([table.rows], lr=0.1, weight_decay=0.5)
    begun = table.rows.detach().clone()
    encoder(new[0]).last_hidden_state.square().sum().backward()
    optimizer.step()
    assert [name for name, one in encoder.named_parameters() if one.grad is not None] == [
        next(name for name, one in encoder.named_parameters() if one is table.rows)
    ]
    assert (table.rows != begun).any(1).all()
    assert torch.equal(table.known.weight, known)
    assert torch.equal(encoder(chunks[0]).last_hidden_state, before)


def test_rows_begin_as_those_of_the_init_word_in_turn(clip: Pair):
    encoder, plain = clip
    known = encoder.get_input_embeddings().weight
    red, circle = (ids(plain, word)[0] for word in ("red", "circle"))
    table, _ = taught(encoder, plain, [NewWord("zig", 3, "red circle")])
    assert torch.equal(table.rows, known[[red, circle, red]])


def test_half_precision_stays_half_and_the_rows_are_float32():
    _, parts = loaded(dtype=torch.bfloat16)
    encoder = parts.text_encoders[0]
    table, tokenizer = taught(encoder, parts.tokenizers[0], [NewWord("zig")])
    chunks, _ = read(tokenizer, ["a zig"], Reading())
    assert table.rows.dtype == torch.float32
    assert encoder(chunks[0]).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("word", "option", "what"),
    [
        (NewWord("circle"), "token_string", 'already knows "circle" as a single token'),
        (NewWord("zig", 1, " "), "init_word", "Init word is empty"),
    ],
)
def test_words_that_cannot_be_taught(clip: Pair, word: NewWord, option: str, what: str):
    with pytest.raises(Failure, match=what) as caught:
        taught(*clip, [word])
    assert (caught.value.option, bool(caught.value.mend)) == (option, True)


def test_the_text_encoder_is_told_what_diffusers_tells_it_of_the_same_rows(clip: Pair):
    """diffusers names the further tokens of a word, and puts their rows into the table itself."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    encoder, plain = clip
    table, tokenizer = taught(encoder, plain, [NewWord("zig", 3, "red")])
    with torch.no_grad():
        table.rows.normal_(std=0.1)
    pipeline.load_textual_inversion({"emb_params": table.rows.detach().clone()}, token="zig")
    theirs = pipeline.encode_prompt("a zig on a red ground", "cpu", 1, False)[0]
    chunks, _ = read(tokenizer, ["a zig on a red ground"], Reading())
    ours: Tensor = encoder(chunks[0]).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_whatever_else_a_tokenizer_has_is_there(clip: Pair):
    tokenizer = TokenizerWithWords(clip[1], {"zig": [9]})
    assert tokenizer.eos_token_id == clip[1].eos_token_id
