"""Weights in captions, against values worked out by hand and the examples of the syntax's authors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.models.clip import emphasised, read
from engine.models.conditioning import Reading
from engine.models.emphasis import weighted_parts
from engine.models.family import Family
from engine.models.parts import Parts
from tests.models.loading import loaded

WEIGHTED = Reading(1, 75, weighted=True)


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        ("a cat", [("a cat", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a (red:1.3) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("[red] (cat:.5)", [("red", 1 / 1.1), (" ", 1), ("cat", 0.5)]),
        ("((a) b)", [("a", 1.1**2), (" b", 1.1)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1)]),
        ("\\(a\\) \\[b\\] \\\\", [("(a) [b] \\", 1)]),
        (r"back\slash", [("backslash", 1)]),
        ("(never closed", [("never closed", 1.1)]),
        ("a [b (c", [("a ", 1), ("b ", 1 / 1.1), ("c", 1)]),  # 1.1 / 1.1
        ("never opened) ]", [("never opened) ]", 1)]),
        ("12:30) (a:-1)", [("12:30) ", 1), ("a", -1)]),
        ("(a:1.2.3)", [("a:1.2.3)", 1.1)]),
        ("(a: 1.3)", [("a: 1.3", 1.1)]),  # no blank may stand before the number
        ("(one)(two)", [("onetwo", 1.1)]),
        ("", []),
    ],
)
def test_brackets_are_weights(caption: str, parts: list[tuple[str, float]]):
    found = weighted_parts(caption)
    assert [text for text, _ in found] == [text for text, _ in parts]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in parts])


@given(st.text("ab(:1.2)[]\\ ", max_size=20))
def test_any_text_is_read_and_no_letter_is_lost(caption: str):
    text = "".join(text for text, _ in weighted_parts(caption))
    assert [c for c in text if c in "ab"] == [c for c in caption if c in "ab"]


@pytest.fixture(scope="module")
def model() -> tuple[Family, Parts]:
    return loaded()


def told(model: tuple[Family, Parts], caption: str, reading: Reading) -> torch.Tensor:
    with torch.no_grad():
        return model[0].encode_text(model[1], [caption], reading)["states"]


@pytest.mark.shows("weighted_captions")
def test_a_words_state_is_multiplied_by_its_weight_and_nothing_else_is(model: tuple[Family, Parts]):
    plain = told(model, "a red star", Reading())
    weighted = told(model, "a (red:1.5) star", WEIGHTED)
    tokens = [len(words) for words in model[1].tokenizers[0](["a", "red"], add_special_tokens=False).input_ids]
    factor = torch.ones(77)
    factor[1 + tokens[0] : 1 + sum(tokens)] = 1.5  # behind the begin
    torch.testing.assert_close(weighted, plain * factor[None, :, None])
    assert not torch.allclose(told(model, "a (red:1.5) star", Reading()), weighted)  # read as plain brackets


def test_a_caption_without_brackets_is_read_as_ever(model: tuple[Family, Parts]):
    for caption in ("a red star, on blue", ""):
        torch.testing.assert_close(told(model, caption, WEIGHTED), told(model, caption, Reading()))


def test_weights_reach_into_later_chunks(model: tuple[Family, Parts]):
    reading = Reading(1, 150, weighted=True)
    words = model[1].tokenizers[0]("red", add_special_tokens=False).input_ids
    caption = " ".join(["red"] * (80 // len(words))) + " (red:0.5)"
    chunks, weights = read(model[1].tokenizers[0], [caption], reading)
    place = 80 // len(words) * len(words)  # of the weighted one among all tokens
    assert chunks.shape == weights.shape == (1, 2, 77)
    assert (weights != 1).sum() == len(words)
    assert weights[0, place // 75, 1 + place % 75] == 0.5
    sequence = emphasised(torch.ones(1, 152, 3), weights)
    assert sequence[0, 1 + place].tolist() == [0.5] * 3
    assert sequence.sum() == 3 * (152 - 0.5 * len(words))


def test_a_weighted_caption_is_cut_where_a_plain_one_is(model: tuple[Family, Parts]):
    long = "(red:1.2) " * 200
    chunks, weights = read(model[1].tokenizers[0], [long], WEIGHTED)
    assert chunks.shape == (1, 1, 77)
    assert weights[0, 0, [0, -1]].tolist() == [1, 1]
