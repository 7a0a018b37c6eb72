"""The form is the declarations, drawn."""

from __future__ import annotations

import subprocess
import sys

import gradio as gr
import pytest

from engine.settings.training import BadValues, TrainingSettings, training_options
from ui.form import Form


@pytest.fixture
def form() -> Form:
    with gr.Blocks():
        form = Form()
        for tab in form.tabs():
            form.draw(tab)
    return form


def values_of(form: Form, **changes: object) -> tuple:
    return tuple(changes.get(item.name, item.default) for item in form.options.values())


def test_every_option_has_a_field_with_its_label_help_and_default(form: Form):
    assert set(form.components) == {item.name for item in training_options()}
    for item in training_options():
        component = form.components[item.name]
        assert (component.label, component.info, component.value) == (item.label, item.help, item.default)


def test_tabs_stand_in_kohyas_order(form: Form):
    assert form.tabs() == ["Source Model", "Folders", "Parameters"]
    sections = [item.section for item in training_options() if item.section.startswith("Parameters/")]
    assert list(dict.fromkeys(sections))[:3] == ["Parameters/Basic", "Parameters/Advanced", "Parameters/Samples"]


def test_the_untouched_form_is_the_default_settings(form: Form):
    assert form.settings(values_of(form), {}) == TrainingSettings()


def test_settings_go_into_the_form_and_out_again(form: Form):
    settings = TrainingSettings().with_values({"network_dim": 32, "unet_lr": 2e-4, "cache_latents": False})
    assert form.settings(tuple(form.updates(settings)), {}) == settings


def test_keys_without_a_field_are_kept(form: Form):
    assert form.settings(values_of(form), {"xformers": True}).kohya_extra == {"xformers": True}


def test_an_emptied_number_field_means_its_default(form: Form):
    assert form.settings(values_of(form, epoch=None), {}) == TrainingSettings()


def test_a_wrong_value_is_one_sentence_by_its_label(form: Form):
    with pytest.raises(BadValues) as refused:
        form.settings(values_of(form, train_batch_size=1000), {})
    assert refused.value.problems == {
        "train_batch_size": "Train batch size is 1000; it takes a whole number (1 to 64)."
    }


def test_what_the_browser_remembers_leaves_wrong_values_out(form: Form):
    kept = form.remembered(values_of(form, train_batch_size=1000, epoch=7), {"xformers": True})
    assert kept["train_batch_size"] == TrainingSettings().optimizer.train_batch_size
    assert (kept["epoch"], kept["xformers"]) == (7, True)


def test_the_page_is_built_without_torch():
    code = (
        "import sys; from ui.page import build; build();"
        "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
