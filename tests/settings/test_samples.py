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
        ("a cat --ss magic", "line 2: there is no sampler 'magic'; use one of"),
        ("a cat --q 3", "line 2: --q is not known"),
    ],
)
def test_a_wrong_flag_is_refused_with_its_line(line: str, sentence: str):
    with pytest.raises(ValueError, match="Sample prompts, ") as refused:
        Samples(sample_prompts=f"fine\n{line}").prompts()
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "read", "notes"),
    [
        # What sd-scripts reads of these is the number that stands at the beginning.
        ("--w 512x768", {"width": 512}, ["--w 512x768 is read as 512."]),
        ("--h 768px", {"height": 768}, ["--h 768px is read as 768."]),
        ("--s 20.0", {"steps": 20}, []),
        ("--s 20.7", {"steps": 20}, ["--s 20.7 is read as 20."]),
        ("--l 7,5", {"guidance_scale": 7.0}, ["--l 7,5 is read as 7."]),
        ("--l .5", {"guidance_scale": 0.5}, []),
        ("--d 42.0", {"seed": 42}, []),
        ("--d -1", {"seed": None}, ["--d -1 means a random seed elsewhere; here it means the run's seed."]),
        # These it passes over, though they can mean but one thing.
        ("--w512", {"width": 512}, []),
        ("--W=512 --s20 --l7.5", {"width": 512, "steps": 20, "guidance_scale": 7.5}, []),
    ],
)
def test_numbers_are_read_as_leniently_as_sd_scripts_does(flags: str, read: dict[str, object], notes: list[str]):
    assert SamplePrompt.parse(f"a cat {flags}") == SamplePrompt("a cat", notes=tuple(notes), **read)


@pytest.mark.parametrize("dash", ["\u2013", "\u2014", "\u2013-", "-\u2013", "\u2013\u2013", "\u2212", "--"])
def test_a_dash_of_a_web_page_begins_a_flag(dash: str):
    prompt = SamplePrompt.parse(f"a cat {dash}w 512 {dash}n blurry, low {dash}d 3\u00a0{dash}s20 {dash}ss ddim")
    assert prompt == SamplePrompt("a cat", "blurry, low", width=512, seed=3, steps=20, sampler="ddim")


@pytest.mark.parametrize(
    "text", ["a cat \u2014 sitting", "a cat \u2013sitting", "1990\u20132000 \u2013 a dog", "a -w cat"]
)
def test_other_dashes_are_words(text: str):
    assert SamplePrompt.parse(text) == SamplePrompt(text)


@pytest.mark.parametrize("flags", ["--ctr 0.25 --rcfg 1.0", "--CTR=0.25 --rcfg1", "\u2014ctr .25 --RCFG 1."])
def test_lumina_s_guidance_is_said_as_sd_scripts_says_it(flags: str):
    prompt = SamplePrompt.parse(f"a cat {flags}")
    assert prompt == SamplePrompt("a cat", cfg_trunc_ratio=0.25, renorm_cfg=1.0)
    assert SamplePrompt.parse(prompt.line()) == prompt


@pytest.mark.parametrize("flags", ["--ctr 2", "--ctr", "--rcfg -1", "--rcfg x"])
def test_lumina_s_guidance_out_of_its_range_is_refused(flags: str):
    with pytest.raises(ValueError, match=r"Sample prompts, line 1: --(ctr|rcfg) is"):
        SamplePrompt.parse(f"a cat {flags}")


@pytest.mark.parametrize("value", ["9" * 6000, "9" * 400 + ".0", "-5", "x512", ""])
def test_what_is_no_such_number_is_still_refused(value: str):
    with pytest.raises(ValueError, match="Sample prompts, line 1: --w is"):
        SamplePrompt.parse(f"a cat --w {value}")
