"""kohya's prompt syntax."""

from __future__ import annotations

import pytest

from engine.settings.samples import SamplePrompt, Samples


def test_a_line_with_every_flag():
    prompt = SamplePrompt.parse(
        "a cat, sitting --w 512 --h 768 --s 20 --l 7.5 --d 42 --ss ddim --n blurry, low quality"
    )
    assert prompt == SamplePrompt(
        text="a cat, sitting",
        negative="blurry, low quality",
        width=512,
        height=768,
        steps=20,
        guidance_scale=7.5,
        seed=42,
        sampler="ddim",
    )


def test_a_line_without_flags_has_the_defaults():
    assert SamplePrompt.parse("a cat") == SamplePrompt(text="a cat")


def test_hyphens_within_words_are_words():
    assert SamplePrompt.parse("a well-lit cat - close up").text == "a well-lit cat - close up"


def test_written_and_read_again_a_prompt_is_the_same():
    prompt = SamplePrompt.parse("a cat --w 64 --d 1 --n dog")
    assert SamplePrompt.parse(prompt.line()) == prompt


def test_empty_lines_and_comments_are_no_prompts():
    texts = [prompt.text for prompt in Samples(sample_prompts="# mine\n\na cat\n  \na dog\n").prompts()]
    assert texts == ["a cat", "a dog"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a cat --w wide", "line 2: --w is 'wide'; it takes a number from 8 to 8192"),
        ("a cat --s 0", "line 2: --s is '0'"),
        ("a cat --ss magic", "line 2: sampler 'magic' is none of"),
        ("a cat --q 3", "line 2: --q is not known"),
    ],
)
def test_a_wrong_flag_is_refused_with_its_line(line: str, sentence: str):
    with pytest.raises(ValueError, match="Sample prompts, ") as refused:
        Samples(sample_prompts=f"fine\n{line}").prompts()
    assert sentence in str(refused.value)
