"""What is left out of a sample prompt is told before a start, and hinders nothing."""

from __future__ import annotations

import pytest

from engine.check.check import check
from engine.settings.training import TrainingSettings


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a cat --w 512x768", '"a cat": --w 512x768 is read as 512.'),
        ("a cat \u2014d -1", '"a cat": --d -1 means a random seed elsewhere; here it means the run\'s seed.'),
        ("a cat --ctr 0.25", '"a cat": --ctr is for Lumina, so it has no effect here.'),
        ("a cat --rcfg 0", '"a cat": --rcfg is for Lumina, so it has no effect here.'),
        ("a cat --am 0.5 --fs 3", '"a cat": --am --fs is not supported here.'),
        ("a cat --h 64.5", '"a cat": --h 64.5 is read as 64.'),
    ],
)
def test_what_is_not_read_of_a_prompt_is_told(settings: TrainingSettings, line: str, told: str):
    checked = check(settings.with_values({"sample_prompts": line, "sample_every_n_steps": 1}))
    assert [problem.what for problem in checked.problems] == [told]
    assert checked.can_start


@pytest.mark.parametrize("line", ["a cat --w512 --s 20.0", "a cat \u2013w 512 \u2014h 64", "a cat --d 42.0"])
def test_what_is_read_whole_needs_no_word(settings: TrainingSettings, line: str):
    assert check(settings.with_values({"sample_prompts": line, "sample_every_n_steps": 1})).problems == []
