"""The form is the declarations, drawn; what it says is settings again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import gradio as gr
import pytest

from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from tests.ui.told import told_by
from ui.form import LONGEST_TEXT, Form


@pytest.fixture(scope="module")
def form() -> Form[TrainingSettings]:
    return Form(TrainingSettings, in_tabs=True)


def test_the_untouched_form_is_the_default_settings(form: Form):
    assert form.settings({}) == TrainingSettings()
    assert form.settings(form.fill(TrainingSettings())) == TrainingSettings()


def test_settings_go_into_the_form_and_out_again(form: Form):
    settings = TrainingSettings().with_values({"network_dim": 32, "unet_lr": 2e-4, "cache_latents": False})
    for said in (settings, settings.for_method("dreambooth"), settings.for_method("finetune")):
        assert form.settings(form.fill(said)) == said


def test_numbers_are_read_as_they_are_typed(form: Form):
    said = form.settings(told_by(form, epoch="7", learning_rate="1e-5", noise_offset="0.05", max_train_steps="1e3"))
    assert (said.optimizer.epoch, said.optimizer.learning_rate) == (7, 1e-5)
    assert (said.objective.noise_offset, said.optimizer.max_train_steps) == (0.05, 1000)


def test_options_and_keys_without_a_field_ride_along(form: Form):
    base = from_kohya(
        {"double_blocks_to_swap": 5, "LoRA_type": "LyCORIS/LoKr", "epoch": 3, "a_key_of_tomorrow": 1}
    ).settings
    assert "double_blocks_to_swap" not in form.options
    said = form.settings(told_by(form, base, epoch="7", lora_type="Standard"))
    assert said.flux.double_blocks_to_swap == 5
    assert said.kohya_extra == {"a_key_of_tomorrow": 1}
    assert (said.optimizer.epoch, said.network.lora_type) == (7, "Standard")


def test_what_rides_along_is_no_more_than_it_has_to_be(form: Form):
    assert json.loads(form.fill(TrainingSettings())["rest"]) == {"method": "lora"}


def test_gradio_takes_nothing_in_a_forms_value_for_a_file(form: Form):
    """It does so with every object that has a key "path", and answers it only for files that were uploaded."""
    told = form.fill(TrainingSettings(kohya_extra={"path": "/etc/passwd", "a": {"path": "b"}}))
    assert "path" not in told.keys() | told["values"].keys()
    assert not [value for value in told["values"].values() if isinstance(value, dict | list)]
    assert isinstance(told["rest"], str)


def test_what_a_field_shows_is_saved_and_not_what_a_file_said_wrongly(form: Form):
    base = from_kohya({"network_dim": "wide", "double_blocks_to_swap": "many", "a_key_of_tomorrow": 1}).settings
    for said in (form.settings(told_by(form, base)), form.readable(told_by(form, base, epoch="0"))):
        written = to_kohya(said)
        assert written["network_dim"] == 8
        assert (written["double_blocks_to_swap"], written["a_key_of_tomorrow"]) == ("many", 1)  # no field


def test_an_emptied_number_field_is_told_unless_0_is_its_default(form: Form):
    assert form.settings(told_by(form, max_train_steps="", seed=None)) == TrainingSettings()
    for empty in (None, "", " "):
        with pytest.raises(BadValues) as refused:
            form.settings(told_by(form, network_dim=empty, learning_rate=empty))
        assert refused.value.problems == {
            "network_dim": "Network Rank (Dimension) is empty; it takes a whole number (1 to 100000).",
            "learning_rate": "Learning rate is empty; it takes a number (0 to 1).",
        }


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("train_batch_size", "1000", "Train batch size is 1000; it takes a whole number (1 to 64)."),
        ("epoch", "2.5", "Epoch is '2.5'; it takes a whole number"),
        ("learning_rate", "0,0001", "Learning rate is '0,0001'; it takes a number"),
        ("optimizer", "Nothing", "Optimizer is 'Nothing'; it takes one of"),
    ],
)
def test_a_wrong_value_is_one_sentence_by_its_label(form: Form, name: str, value: str, sentence: str):
    with pytest.raises(BadValues) as refused:
        form.settings(told_by(form, **{name: value}))
    assert list(refused.value.problems) == [name]
    assert refused.value.problems[name].startswith(sentence)


def test_what_can_be_read_has_wrong_values_at_their_defaults(form: Form):
    base = from_kohya({"double_blocks_to_swap": 5, "a_key_of_tomorrow": 1}).settings
    kept = to_kohya(form.readable(told_by(form, base, train_batch_size="1000", epoch="7")))
    assert kept["train_batch_size"] == TrainingSettings().optimizer.train_batch_size
    assert (kept["epoch"], kept["double_blocks_to_swap"], kept["a_key_of_tomorrow"]) == (7, 5, 1)


def test_single_options_are_set_and_all_else_stays_as_it_is_typed(form: Form):
    base = from_kohya({"a_key_of_tomorrow": 1}).settings
    told = form.set(told_by(form, base, epoch="many", learning_rate="1e-5"), {"sdxl": True, "double_blocks_to_swap": 5})
    assert told["values"]["epoch"] == "many"
    said = form.settings(told | {"values": told["values"] | {"epoch": "2"}})
    assert (said.families.sdxl, said.flux.double_blocks_to_swap) == (True, 5)
    assert (said.optimizer.learning_rate, said.kohya_extra) == (1e-5, {"a_key_of_tomorrow": 1})


def test_an_answer_knows_of_which_entries_it_was_made(form: Form):
    assert form.fill(TrainingSettings(), {"serial": 7})["serial"] == 7
    assert form.set(told_by(form) | {"serial": 8}, {"epoch": 2})["serial"] == 8
    for told in (None, [], {"serial": "x"}, {"serial": None}):
        assert form.fill(TrainingSettings(), told)["serial"] == 0


NO_FORM: list[Any] = [
    [], "text", 5, {"values": []}, {"values": "x"}, {"rest": [1]}, {"rest": {}}, {"rest": "{"}, {"rest": "[" * 100_000},
    *({"rest": json.dumps(rest)} for rest in (
        [1], {"method": "rowing"}, {"gone": 1}, {"optimizer": {"epoch": {"a": []}}}, {"kohya_extra": 5},
    )),
]  # fmt: skip


@pytest.mark.parametrize("told", NO_FORM, ids=lambda told: str(told)[:40])
def test_what_is_no_form_is_refused_in_a_sentence(form: Form, told: Any):
    with pytest.raises(BadValues, match=r"^(What the page sent|The page sent settings).* Reload the page\.$"):
        form.settings(told)
    assert form.readable(told) == TrainingSettings()
    assert form.settings(form.set(told, {"epoch": 3})).optimizer.epoch == 3


@pytest.mark.parametrize(
    "value", [[], {}, [1, 2], {"a": {"b": 1}}, True, "x" * LONGEST_TEXT + "y"], ids=lambda v: str(v)[:9]
)
def test_a_value_of_a_kind_that_no_field_has_is_told_by_its_label(form: Form, value: Any):
    with pytest.raises(BadValues) as refused:
        form.settings(told_by(form, output_name=value, epoch=value))
    assert {sentence.split()[0] for sentence in refused.value.problems.values()} <= {"Epoch", "Trained"}
    assert all(len(sentence) < 200 for sentence in refused.value.problems.values())
    assert form.readable(told_by(form, epoch=value)).optimizer.epoch == 1


def test_names_that_are_no_options_are_passed_over(form: Form):
    assert (
        form.settings({"values": {"__class__": "x", "double_blocks_to_swap": 9, "kohya_extra": {}}})
        == TrainingSettings()
    )


def test_the_form_is_one_component():
    with gr.Blocks() as page:
        Form(TrainingSettings).draw()
    assert len(page.blocks) == 1


def test_the_page_is_built_without_torch():
    code = (
        "import sys; from ui.page import build; build();"
        "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
