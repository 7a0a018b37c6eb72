"""The fields that the declarations ask for."""

from __future__ import annotations

import json

import pytest

from engine.jobs import UTILITIES
from engine.settings.option import option, options_of
from engine.settings.training import training_options
from engine.settings.values import JobSettings
from tests.ui.drawn import Drawn
from ui.form import Form, has_field
from ui.form_view import METHODS, as_template, form_html, methods_html, text_of, tree_of


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn(form_html("option", [item for item in training_options() if has_field(item)], in_tabs=True))


def test_every_option_that_acts_has_a_field_with_its_label_help_and_default(drawn: Drawn):
    acting = [item for item in training_options() if item.acts]
    assert set(drawn.controls) == {item.name for item in acting}
    for item in acting:
        control = drawn.controls[item.name]
        assert (drawn.labels[item.name], drawn.helps[item.name]) == (item.label, item.help)
        assert control["aria-describedby"] == f"option-{item.name}-help"
        if item.kind is bool:
            assert ("checked" in control) == item.default
        elif not item.choices:
            assert control["value"] == text_of(item, item.default)


def test_ids_are_unique_in_all_forms_together(drawn: Drawn):
    forms = [Form(job.settings_class(), name) for name, job in UTILITIES.items()]
    ids = [*drawn.ids]
    for form in forms:
        ids += Drawn(form_html(form.name, list(form.options.values()), in_tabs=False)).ids
    assert len(ids) == len(set(ids))


def test_tabs_stand_in_kohyas_order():
    tree = tree_of([item for item in training_options() if has_field(item)])
    assert [section.path for section in tree] == ["Source Model", "Folders", "Parameters"]
    assert [section.name for section in tree[2].within][:3] == ["Basic", "Advanced", "Samples"]


def test_a_choice_that_cannot_be_followed_yet_is_shown_and_says_so(drawn: Drawn):
    choices = drawn.choices["lora_type"]
    assert choices["Standard"] == "Standard"
    assert choices["HunyuanImage-2.1"] == "HunyuanImage-2.1 (not yet)"


class Some(JobSettings):
    plain: int = option(1, label="Plain", section="Parameters/Basic", help="Plain.")
    inner: int = option(1, label="Inner", section="Parameters/Basic/Deep", help="Inner.")
    lone: str = option("", label="Lone", section="Parameters/Other/Lone", help="Lone.", widget="secret")
    odd: str = option(
        '${x} {{y}} `z` \\n "q"', label="<b>Odd</b>", section="Parameters/Other", help="</p><img src=x>",
        suggestions=("a", "<i>"),
    )  # fmt: skip
    beside: float = option(
        1e-5, label="Beside", section="Parameters/Other", help="Beside.", ge=0, le=1, widget="slider", step=0.1,
        applies_when={"plain": (1, 2)}, also_when={"lone": ("x",)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def some() -> Drawn:
    return Drawn(form_html("some", options_of(Some), in_tabs=True))


def test_a_third_level_folds_open_in_its_sub_tab(some: Drawn):
    basic = [("tab", "Parameters"), ("tab", "Parameters/Basic")]
    assert some.around["plain"] == basic
    assert some.around["inner"] == [*basic, ("fold", "section-parameters-basic-deep")]
    assert some.around["lone"][-1] == ("fold", "section-parameters-other-lone")
    assert some.controls["lone"]["type"] == "password"


def test_what_declarations_say_is_text(some: Drawn):
    assert some.labels["odd"] == "<b>Odd</b>"
    assert some.helps["odd"] == "</p><img src=x>"
    assert some.controls["odd"]["value"] == '${x} {{y}} `z` \\n "q"'


def test_nothing_in_a_form_means_anything_to_gradios_templates(some: Drawn):
    html = form_html("some", options_of(Some), in_tabs=True)
    template = as_template(html)
    assert not [sign for sign in ("{", "`", "$", "\\") if sign in template]
    assert Drawn(template).controls == some.controls


def test_beside_which_values_a_field_has_a_meaning_is_told_to_the_script():
    html = form_html("some", options_of(Some), in_tabs=True)
    told = json.dumps([{"plain": [1, 2]}, {"lone": ["x"]}], separators=(",", ":")).replace('"', "&quot;")
    assert f'id="some-beside" data-when="{told}"' in html
    ours = form_html("option", training_options(), in_tabs=True)
    assert 'id="option-network_dim" data-methods="lora leco"' in ours
    assert 'id="option-epoch" data-not="leco"' in ours


def test_small_numbers_are_written_as_people_write_them(some: Drawn):
    assert some.controls["beside"]["value"] == "0.00001"
    item = options_of(Some)[-1]
    assert [text_of(item, value) for value in (0.0, 1e-4, 2.5, 1e-12, 3e9)] == ["0", "0.0001", "2.5", "1e-12", "3e+09"]


def test_the_methods_are_tabs_of_which_one_is_chosen():
    html = methods_html("dreambooth")
    assert html.count('role="tab"') == len(METHODS)
    assert 'data-method="dreambooth" aria-selected="true"' in html
    assert html.count('aria-selected="true"') == html.count('tabindex="0"') == 1
