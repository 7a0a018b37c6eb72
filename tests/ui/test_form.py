"""The form is the declarations, drawn."""

from __future__ import annotations

import subprocess
import sys

import gradio as gr
import pytest

from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.option import option, sections_of
from engine.settings.training import TrainingSettings, training_options
from engine.settings.values import BadValues, JobSettings
from ui.form import Form


@pytest.fixture
def form() -> Form:
    with gr.Blocks():
        form = Form(TrainingSettings)
        for tab in form.tabs():
            form.draw(tab)
    return form


def values_of(form: Form, **changes: object) -> tuple:
    return tuple(changes.get(item.name, item.default) for item in form.options.values())


def within(component: gr.components.Component) -> list[str]:
    """Names of the accordions and tabs around a component, the innermost first."""
    around = []
    block = component.parent
    while block is not None:
        around += [block.label] if isinstance(block, gr.Tab | gr.Accordion) else []
        block = block.parent
    return around


def test_every_option_that_acts_has_a_field_with_its_label_help_and_default(form: Form):
    acting = [item for item in training_options() if item.acts]
    assert set(form.components) == {item.name for item in acting}
    for item in acting:
        component = form.components[item.name]
        assert (component.label, component.info, component.value) == (item.label, item.help, item.default)


def test_tabs_stand_in_kohyas_order(form: Form):
    assert form.tabs() == ["Source Model", "Folders", "Parameters"]
    sections = sections_of([item for item in training_options() if item.acts])
    sub_tabs = [section for section in sections if section.count("/") == 1]
    assert sub_tabs[:3] == ["Parameters/Basic", "Parameters/Advanced", "Parameters/Samples"]


def test_the_untouched_form_is_the_default_settings(form: Form):
    assert form.settings(values_of(form), TrainingSettings()) == TrainingSettings()


def test_settings_go_into_the_form_and_out_again(form: Form):
    settings = TrainingSettings().with_values({"network_dim": 32, "unet_lr": 2e-4, "cache_latents": False})
    assert form.settings(tuple(form.updates(settings)), TrainingSettings()) == settings


def test_options_and_keys_without_a_field_ride_along(form: Form):
    base = from_kohya({"unit": 5, "LoRA_type": "LyCORIS/LoKr", "epoch": 3, "a_key_of_tomorrow": 1}).settings
    assert "dylora_unit" not in form.components
    said = form.settings(values_of(form, epoch=7, lora_type="Standard"), base)
    assert said.lycoris.dylora_unit == 5
    assert said.kohya_extra == {"a_key_of_tomorrow": 1}
    assert (said.optimizer.epoch, said.network.lora_type) == (7, "Standard")


def test_what_a_field_shows_is_saved_and_not_what_a_file_said_wrongly(form: Form):
    base = from_kohya({"network_dim": "wide", "unit": "many", "a_key_of_tomorrow": 1}).settings
    for said in (form.settings(tuple(form.updates(base)), base), form.readable(values_of(form, epoch=0), base)):
        written = to_kohya(said)
        assert written["network_dim"] == 8
        assert (written["unit"], written["a_key_of_tomorrow"]) == ("many", 1)  # no field


def test_a_choice_that_cannot_be_followed_yet_is_shown_and_says_so(form: Form):
    choices = {value: label for label, value in form.components["lora_type"].choices}
    assert choices["Standard"] == "Standard"
    assert choices["LyCORIS/LoHa"] == "LyCORIS/LoHa (not yet)"
    said = form.settings(values_of(form, lora_type="LyCORIS/LoHa"), TrainingSettings())
    assert said.network.lora_type == "LyCORIS/LoHa"


def test_a_third_level_is_an_accordion_in_its_sub_tab():
    class Some(JobSettings):
        plain: int = option(1, label="Plain", section="Parameters/Basic", help="Plain.")
        inner: int = option(1, label="Inner", section="Parameters/Basic/Deep", help="Inner.")
        lone: str = option("", label="Lone", section="Parameters/Other/Lone", help="Lone.", widget="secret")

    with gr.Blocks():
        form = Form(Some)
        form.draw("Parameters")
    assert within(form.components["plain"]) == ["Basic"]
    assert within(form.components["inner"]) == ["Deep", "Basic"]
    assert within(form.components["lone"]) == ["Lone", "Other"]
    assert form.components["lone"].type == "password"


def test_an_emptied_number_field_is_told_unless_0_is_its_default(form: Form):
    assert form.settings(values_of(form, max_train_steps=None, seed=""), TrainingSettings()) == TrainingSettings()
    for empty in (None, "", " "):
        with pytest.raises(BadValues) as refused:
            form.settings(values_of(form, network_dim=empty, learning_rate=empty), TrainingSettings())
        assert refused.value.problems == {
            "network_dim": "Network Rank (Dimension) is empty; it takes a whole number (1 to 100000).",
            "learning_rate": "Learning rate is empty; it takes a number (0 to 1).",
        }


def test_a_part_of_an_epoch_is_told_and_not_cut_off(form: Form):
    typed = form.components["epoch"].preprocess(2.5)
    with pytest.raises(BadValues) as refused:
        form.settings(values_of(form, epoch=typed), TrainingSettings())
    assert refused.value.problems == {"epoch": "Epoch is 2.5; it takes a whole number (1 or more)."}
    assert form.settings(values_of(form, epoch=form.components["epoch"].preprocess(3)), TrainingSettings())


def test_a_wrong_value_is_one_sentence_by_its_label(form: Form):
    with pytest.raises(BadValues) as refused:
        form.settings(values_of(form, train_batch_size=1000), TrainingSettings())
    assert refused.value.problems == {
        "train_batch_size": "Train batch size is 1000; it takes a whole number (1 to 64)."
    }


def test_what_can_be_read_has_wrong_values_at_their_defaults(form: Form):
    base = from_kohya({"unit": 5, "a_key_of_tomorrow": 1}).settings
    kept = to_kohya(form.readable(values_of(form, train_batch_size=1000, epoch=7), base))
    assert kept["train_batch_size"] == TrainingSettings().optimizer.train_batch_size
    assert (kept["epoch"], kept["unit"], kept["a_key_of_tomorrow"]) == (7, 5, 1)


def test_the_page_is_built_without_torch():
    code = (
        "import sys; from ui.page import build; build();"
        "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
