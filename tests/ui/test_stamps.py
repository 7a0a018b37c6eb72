"""What stands on the page beside the form knows of which state of it it was made."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr
import pytest

from engine.settings.training import TrainingSettings
from ui.form import Form
from ui.sentences import NOTHING
from ui.stamps import stamp_of, stamped
from ui.training_tab import TrainingTab


@pytest.fixture(scope="module")
def tab() -> TrainingTab:
    with gr.Blocks():
        drawn = TrainingTab()
        drawn.draw()
    return drawn


def shown_by(form: Form, **changes: Any) -> tuple[Any, ...]:
    """What the fields hold, with some filled in otherwise."""
    base = TrainingSettings()
    return tuple(changes.get(name, item.value_in(base)) for name, item in form.options.items())


def stamps_in(answer: Any) -> set[str]:
    return set(re.findall(r'data-form="(\w+)"', str(answer)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epoch", 2), ("output_name", "cat"), ("sdxl", True), ("learning_rate", "abc"), ("learning_rate", "abd")],
)
def test_every_value_has_a_stamp_of_its_own_also_one_that_cannot_be_read(tab: TrainingTab, name: str, value: Any):
    base, form = TrainingSettings(), tab.form
    stamp = stamp_of(form, base, shown_by(form, **{name: value}))
    assert stamp == stamp_of(form, base, shown_by(form, **{name: value}))
    others = [shown_by(form), shown_by(form, learning_rate="abe"), shown_by(form, epoch=3)]
    assert stamp not in {stamp_of(form, base, other) for other in others}


def test_what_has_no_field_counts_too(tab: TrainingTab):
    values = shown_by(tab.form)
    kept = TrainingSettings(kohya_extra={"a key of another program": 1})
    bases = [TrainingSettings(), kept, TrainingSettings().for_method("dreambooth")]
    assert len({stamp_of(tab.form, base, values) for base in bases}) == 3


@pytest.mark.parametrize("changes", [{}, {"epoch": 7}, {"learning_rate": "abc"}, {"train_data_dir": "C:/img"}])
def test_all_that_is_made_of_a_form_has_the_stamp_that_the_form_has(tab: TrainingTab, changes: dict[str, Any]):
    base, values = TrainingSettings(), shown_by(tab.form, **changes)
    *shown, stamp = tab._changed("ours/SDXL LoRA", base, *values)
    assert stamps_in(shown) == {stamp}
    assert stamps_in(tab._check(base, *values)) == {stamp}
    assert stamps_in(tab._start(base, *values)) == {stamp}
    assert stamps_in(tab.presets._look("ours/SDXL LoRA", base, *values)) == {stamp}
    assert stamps_in(tab.commands._print(base, *values)) <= {stamp}
    without = shown_by(tab.form, **changes, pretrained_model_name_or_path="")
    assert stamps_in(list(tab.memory._estimate(base, *without))) == {stamp_of(tab.form, base, without)}


def test_nothing_needs_no_stamp():
    assert stamped(NOTHING, "x") == NOTHING
