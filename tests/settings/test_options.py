"""One declaration an option: everything else asks the declarations."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import pytest

from engine.__main__ import _options_of_utilities, _parser
from engine.settings.kin import TABS
from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.option import Group, Option, option, options_of, sections_of
from engine.settings.reference import reference_page, shown_by_tests
from engine.settings.training import TrainingSettings, training_options
from engine.settings.values import BadValues
from tests.ui.drawn import Drawn
from ui.form import Form
from ui.form_view import form_html

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
    for module in ("engine.settings.training", "engine.settings.kohya_json", "engine.settings.reference",
                   "engine.__main__"):  # fmt: skip
        monkeypatch.setattr(f"{module}.training_options", lambda: extended)
    for module in ("engine.settings.training", "engine.settings.kohya_json"):
        monkeypatch.setattr(f"{module}.TrainingSettings", Extended)


def test_a_new_declaration_reaches_the_form_the_files_the_command_line_and_the_reference(with_a_new_option: None):
    drawn = Drawn(form_html("option", list(Form(Extended).options.values()), in_tabs=True))
    assert (drawn.labels["brand_new_rate"], drawn.controls["brand_new_rate"]["value"]) == ("Brand new rate", "0.5")

    settings = from_kohya({"brand_new_rate": "0.25"}).settings
    assert settings.extra.brand_new_rate == 0.25
    assert to_kohya(settings)["brand_new_rate"] == 0.25
    assert _parser().parse_args(["train", "--brand_new_rate", "0.75"]).brand_new_rate == "0.75"
    assert "`brand_new_rate`" in reference_page({})
    with pytest.raises(BadValues, match=r"Brand new rate is 2; it takes a number \(0 to 1\)"):
        Extended().with_values({"brand_new_rate": 2})


@pytest.mark.parametrize("file", DERIVED)
def test_what_derives_from_the_declarations_names_no_option_itself(file: str):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    named = strings & {item.name for item in training_options()} - ALSO_A_COMMAND
    assert not named, f"{file} has a name list of its own: {sorted(named)}"


def test_the_reference_page_in_docs_is_the_one_that_the_declarations_give():
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == reference_page(_options_of_utilities())


def test_every_option_says_what_it_does():
    for item in training_options():
        assert item.label, item.name
        assert item.help.endswith("."), item.name
        assert item.help.count('"') % 2 == 0, item.name
        assert item.section.split("/")[0] in ("Source Model", "Folders", "Parameters", "Dataset Preparation"), item.name


def test_all_317_keys_of_kohya_ss_and_those_of_our_own_are_declared_once():
    keys = [item.kohya.key for item in training_options()]
    assert len(keys) == len(set(keys))
    theirs = [item for item in training_options() if item.kohya.has_it]
    assert len(theirs) == 317
    # How many of them each of kohya_ss's tabs saves.
    saved = {method: sum(method in item.kohya.methods for item in theirs) for method in TABS}
    assert saved == {"dreambooth": 175, "lora": 287, "textual_inversion": 128, "finetune": 215}


def test_what_does_not_act_says_why():
    for item in training_options():
        assert bool(item.standing.why) == (not item.acts), item.name
        if item.standing.kind == "idle":
            assert item.standing.why.endswith("."), item.name
        else:
            assert not item.standing.why.endswith("."), item.name
        assert set(item.not_yet) < set(item.choices or [""]), item.name
        assert item.default not in item.not_yet, item.name


def test_conditions_name_options_and_values_that_there_are():
    known = {item.name: item for item in training_options()}
    for item in training_options():
        for name, values in (item.applies_when or {}).items():
            allowed = known[name].choices or {bool: (True, False), str: ("",)}[known[name].kind]
            assert set(values) <= set(allowed), (item.name, name)


def test_other_names_are_not_the_label_again():
    for item in training_options():
        assert item.label not in item.kohya.also, item.name
        assert len(set(item.kohya.also)) == len(item.kohya.also), item.name


@pytest.mark.parametrize("item", [item for item in training_options() if item.kind is float], ids=lambda i: i.name)
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "inf", "nan", "1e999"])
def test_no_number_is_infinite_or_none(item: Option, value: object):
    with pytest.raises(BadValues):
        TrainingSettings().with_values({item.name: value})


def test_sections_stand_in_order_with_those_within_them_behind():
    class Some(Group):
        a: int = option(1, label="A", section="X/One", help=".")
        b: int = option(1, label="B", section="X/Two", help=".")
        c: int = option(1, label="C", section="X/One/Inner", help=".")
        d: int = option(1, label="D", section="X", help=".")

    assert sections_of(options_of(Some)) == ["X", "X/One", "X/One/Inner", "X/Two"]


def test_a_single_choice_may_wait_while_the_others_act():
    lora_type = next(item for item in training_options() if item.name == "lora_type")
    assert lora_type.standing_of("Standard").kind == "acts"
    assert lora_type.standing_of("HunyuanImage-2.1").text() == "not supported yet (HunyuanImage-2.1 models)"


def test_every_option_that_acts_has_a_test_that_shows_it():
    """The reference page names it; one that names no option, or one that does not act, is a slip of the pen."""
    acting = {item.name for item in training_options() if item.acts}
    acting |= {f"{job}.{item.name}" for job, options in _options_of_utilities().items() for item in options}
    shown = set(shown_by_tests(ROOT / "tests"))
    assert not {name for name in acting if not any(fnmatchcase(name, mark) for mark in shown)}
    assert not {mark for mark in shown if not any(fnmatchcase(name, mark) for name in acting)}


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
        "network_dim": "Network Rank (Dimension) is 0; it takes a whole number (1 to 100000).",
        "lr_scheduler": "LR Scheduler is 'wavy'; it takes one of adafactor, constant, constant_with_warmup, "
        "cosine, cosine_with_restarts, linear, piecewise_constant, polynomial, cosine_with_min_lr, inverse_sqrt, "
        "warmup_stable_decay.",
        "epoch": "Epoch is 'many'; it takes a whole number (1 or more).",
    }


def test_an_option_applies_only_beside_the_values_that_give_it_a_meaning():
    power = next(item for item in training_options() if item.name == "lr_scheduler_power")
    assert power.applies({"lr_scheduler": "polynomial"})
    assert not power.applies({"lr_scheduler": "cosine"})
