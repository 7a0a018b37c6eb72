"""What the utilities' forms say comes back after a reload."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from ui.remembered import Remembered
from ui.utility_form import UtilityForm

JOBS = ("caption-basic", "caption-blip")


@pytest.fixture(scope="module")
def remembered() -> Remembered:
    with gr.Blocks():
        return Remembered([UtilityForm(job) for job in JOBS])


def values(remembered: Remembered, **changed: Any) -> list[Any]:
    options = [item for form in remembered._forms for item in form.form.options.values()]
    return [changed.get(item.name, item.default) for item in options]


def test_what_differs_from_the_defaults_is_kept_and_shown_again(remembered: Remembered):
    kept = remembered.told(*values(remembered, caption_text="a cat", max_length=12))
    assert kept == {"caption-basic": {"caption_text": "a cat"}, "caption-blip": {"max_length": 12}}
    filled = remembered.filled(kept)
    assert [value for value in filled if not isinstance(value, dict)] == ["a cat", 12]
    assert len(filled) == len(values(remembered))


@pytest.mark.parametrize("kept", [None, [], {"gone": {"x": 1}}, {"caption-blip": []}, {"caption-blip": {"gone": 1}}])
def test_what_has_no_meaning_changes_nothing(remembered: Remembered, kept: Any):
    assert all(isinstance(value, dict) for value in remembered.filled(kept))


def test_a_wrong_value_becomes_the_default(remembered: Remembered):
    filled = remembered.filled({"caption-blip": {"max_length": -3, "num_beams": 4}})
    assert [value for value in filled if not isinstance(value, dict)] == [4, 75]
