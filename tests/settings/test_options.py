"""One declaration an option: everything else asks the declarations."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

import pytest

from engine.__main__ import _parser
from engine.settings.files import from_kohya, to_kohya
from engine.settings.option import Group, option, options_of
from engine.settings.reference import reference_page
from engine.settings.training import BadValues, TrainingSettings, training_options
from ui.form import Form

ROOT = Path(__file__).parents[2]

DERIVED = ("ui/form.py", "engine/__main__.py", "engine/settings/reference.py", "engine/settings/option.py")
"""What draws, lists or reads every option, and so must know none of them by name."""


ALSO_A_COMMAND = {"resume"}


class Extended(TrainingSettings):
    """The settings with an option more, as a change that adds one would leave them."""

    class Extra(Group):
        brand_new_rate: float = option(0.5, ge=0, le=1, label="Brand new rate", section="Parameters/New", help="New.")

    extra: Extra = Extra()


@pytest.fixture
def with_a_new_option(monkeypatch: pytest.MonkeyPatch) -> None:
    extended = tuple(options_of(Extended))
    for module in ("engine.settings.training", "engine.settings.files", "engine.settings.reference",
                   "engine.__main__", "ui.form"):  # fmt: skip
        monkeypatch.setattr(f"{module}.training_options", lambda: extended)
    for module in ("engine.settings.training", "engine.settings.files", "ui.form"):
        monkeypatch.setattr(f"{module}.TrainingSettings", Extended)


def test_a_new_declaration_reaches_the_form_the_files_the_command_line_and_the_reference(with_a_new_option: None):
    import gradio as gr

    with gr.Blocks():
        form = Form()
        for tab in form.tabs():
            form.draw(tab)
    field = form.components["brand_new_rate"]
    assert (field.label, field.value) == ("Brand new rate", 0.5)

    settings = from_kohya({"brand_new_rate": "0.25"}).settings
    assert settings.extra.brand_new_rate == 0.25
    assert to_kohya(settings)["brand_new_rate"] == 0.25
    assert _parser().parse_args(["train", "--brand_new_rate", "0.75"]).brand_new_rate == "0.75"
    assert "`brand_new_rate`" in reference_page()
    with pytest.raises(BadValues, match=r"Brand new rate is 2; it takes a number \(0 to 1\)"):
        Extended().with_values({"brand_new_rate": 2})


@pytest.mark.parametrize("file", DERIVED)
def test_what_derives_from_the_declarations_names_no_option_itself(file: str):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    named = strings & {item.name for item in training_options()} - ALSO_A_COMMAND
    assert not named, f"{file} has a name list of its own: {sorted(named)}"


def test_the_reference_page_in_docs_is_the_one_that_the_declarations_give():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == reference_page()


def test_every_option_says_what_it_does():
    for item in training_options():
        assert item.label, item.name
        assert item.help.endswith("."), item.name
        assert "/" in item.section or item.section in ("Source Model", "Folders"), item.name


def test_two_options_of_one_name_are_refused():
    class A(Group):
        rate: float = option(0.0, label="Rate", section="A", help=".")

    class B(Group):
        rate: float = option(0.0, label="Rate", section="B", help=".")

    class Both(Group):
        a: A = A()
        b: B = B()

    with pytest.raises(TypeError, match="rate more than once"):
        options_of(Both)


def test_an_option_of_a_kind_without_a_field_is_refused():
    class Odd(Group):
        pair: tuple[int, int] = option((1, 2), label="Pair", section="A", help=".")

    with pytest.raises(TypeError, match="pair: an option is a str, bool, int, float or Literal"):
        options_of(Odd)


def test_choices_and_bounds_are_told_in_words():
    class Some(Group):
        kind: Literal["a", "b"] = option("a", label="Kind", section="A", help=".")
        count: int = option(1, ge=1, label="Count", section="A", help=".")
        share: float = option(0.5, ge=0, le=1, label="Share", section="A", help=".")
        name: str = option("", label="Name", section="A", help=".")

    assert [item.range_text() for item in options_of(Some)] == ["one of a, b", "1 or more", "0 to 1", ""]


def test_every_wrong_value_is_named_at_once_with_what_it_takes():
    with pytest.raises(BadValues) as refused:
        TrainingSettings().with_values({"network_dim": 0, "lr_scheduler": "wavy", "epoch": "many"})
    assert refused.value.problems == {
        "network_dim": "Network Rank (Dimension) is 0; it takes a whole number (1 to 512).",
        "lr_scheduler": "LR Scheduler is 'wavy'; it takes one of constant, constant_with_warmup, cosine, "
        "cosine_with_restarts, linear, polynomial.",
        "epoch": "Epoch is 'many'; it takes a whole number (1 or more).",
    }


def test_an_option_applies_only_beside_the_values_that_give_it_a_meaning():
    power = next(item for item in training_options() if item.name == "lr_scheduler_power")
    assert power.applies({"lr_scheduler": "polynomial"})
    assert not power.applies({"lr_scheduler": "cosine"})
