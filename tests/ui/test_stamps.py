"""What stands on the page beside the form knows of which state of it it was made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.settings.training import TrainingSettings
from tests.ui.told import told_by
from ui.sentences import NOTHING
from ui.stamps import stamp_of, stamped
from ui.training_tab import TrainingTab


def stamps_in(answer: Any) -> set[str]:
    return set(re.findall(r'data-form="(\w+)"', str(answer)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epoch", 2), ("output_name", "cat"), ("sdxl", True), ("learning_rate", "abc"), ("learning_rate", "abd")],
)
def test_every_value_has_a_stamp_of_its_own_also_one_that_cannot_be_read(tab: TrainingTab, name: str, value: Any):
    form = tab.form
    stamp = stamp_of(form, told_by(form, **{name: value}))
    assert stamp == stamp_of(form, told_by(form, **{name: value}))
    others = [told_by(form), told_by(form, learning_rate="abe"), told_by(form, epoch=3)]
    assert stamp not in {stamp_of(form, other) for other in others}


def test_the_same_value_has_the_same_stamp_however_it_is_written(tab: TrainingTab):
    stamps = {stamp_of(tab.form, told_by(tab.form, learning_rate=rate)) for rate in ("1e-4", "0.0001", 1e-4)}
    assert stamps == {stamp_of(tab.form, {})}


def test_what_has_no_field_counts_too(tab: TrainingTab):
    kept = TrainingSettings(kohya_extra={"a key of another program": 1})
    bases = [TrainingSettings(), kept, TrainingSettings().for_method("dreambooth")]
    assert len({stamp_of(tab.form, tab.form.fill(base)) for base in bases}) == 3


@pytest.mark.parametrize("changes", [{}, {"epoch": 7}, {"learning_rate": "abc"}, {"train_data_dir": "C:/img"}])
def test_all_that_is_made_of_a_form_has_the_stamp_that_the_form_has(tab: TrainingTab, changes: dict[str, Any]):
    told = told_by(tab.form, **changes)
    *shown, stamp = tab._changed("ours/SDXL LoRA", told)
    assert stamps_in(shown) == {stamp}
    assert stamps_in(tab._check(told)) == {stamp}
    assert stamps_in(tab._start(told)) == {stamp}
    assert stamps_in(tab.presets._look("ours/SDXL LoRA", told)) == {stamp}
    assert stamps_in(tab.commands._print(told)) <= {stamp}
    without = told_by(tab.form, **changes, pretrained_model_name_or_path="")
    assert stamps_in(list(tab.memory._estimate(without))) == {stamp_of(tab.form, without)}


def test_nothing_needs_no_stamp():
    assert stamped(NOTHING, "x") == NOTHING
