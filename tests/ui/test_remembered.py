"""What the utilities' forms say comes back after a reload."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.ui.told import told_by
from ui.remembered import Remembered
from ui.utility_form import UtilityForm

JOBS = ("caption-basic", "caption-blip")


@pytest.fixture(scope="module")
def remembered() -> Remembered:
    with gr.Blocks():
        return Remembered([UtilityForm(job) for job in JOBS])


def test_what_differs_from_the_defaults_is_kept_and_shown_again(remembered: Remembered):
    basic, blip = (form.form for form in remembered._forms)
    kept = remembered.told(told_by(basic, caption_text="a cat"), told_by(blip, max_length="12"))
    assert kept == {"caption-basic": {"caption_text": "a cat"}, "caption-blip": {"max_length": 12}}
    filled = remembered.filled(kept)
    assert basic.settings(filled[0]).values()["caption_text"] == "a cat"
    assert remembered.told(*filled) == kept


@pytest.mark.parametrize("kept", [None, [], {"gone": {"x": 1}}, {"caption-blip": []}, {"caption-blip": {"gone": 1}}])
def test_what_has_no_meaning_changes_nothing(remembered: Remembered, kept: Any):
    assert remembered.filled(kept) == [gr.skip(), gr.skip()]


def test_a_wrong_value_becomes_the_default(remembered: Remembered):
    blip = remembered._forms[1].form
    settings = blip.settings(remembered.filled({"caption-blip": {"max_length": -3, "num_beams": 4}})[1])
    assert (settings.values()["num_beams"], settings.values()["max_length"]) == (4, 75)
