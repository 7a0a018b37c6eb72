"""What the page's script knows of the options."""

from __future__ import annotations

from html import escape

import pytest

from engine.jobs import UTILITIES
from engine.settings.option import Group, option, options_of
from engine.settings.training import training_options
from engine.settings.values import JobSettings
from tests.ui.drawn import Drawn
from ui import search
from ui.form import has_field
from ui.form_view import form_html


def test_every_option_can_be_found_by_its_names_and_help():
    """Where it has a field, the help text comes with the form, in the element that the page's script looks for."""
    options = search.index()["options"]
    drawn = form_html("option", [item for item in training_options() if has_field(item)], in_tabs=True)
    assert list(options) == [item.name for item in training_options()]
    for item in training_options():
        entry = options[item.name]
        assert (entry["label"], entry.get("key", item.name)) == (item.label, item.kohya.key)
        help_text = f'<p class="help" id="option-{item.name}-help">{escape(item.help)}</p>'
        assert help_text in drawn if has_field(item) and item.help else entry.get("help", "") == item.help
        assert tuple(entry.get("also", ())) == item.kohya.also


def test_an_option_without_a_field_says_why():
    index = search.index()
    for item in training_options():
        entry = index["options"][item.name]
        said = index["standings"][entry["standing"]] if "standing" in entry else ""
        assert said == ("" if item.acts else item.standing.text())


def test_a_choice_that_waits_says_for_what():
    choices = search.index()["options"]["optimizer"]["choices"]
    assert choices["AdamW"] == ""
    waiting = {choice: why for choice, why in choices.items() if why}
    assert waiting == dict(next(item for item in training_options() if item.name == "optimizer").not_yet)


def test_the_way_to_a_field_is_through_the_tabs_and_folds_that_the_form_draws(monkeypatch: pytest.MonkeyPatch):
    class Some(JobSettings):
        plain: int = option(1, label="Plain", section="Source Model", help="Plain.")
        inner: int = option(1, label="Inner", section="Parameters/Basic/Deep/Deeper", help="Inner.")

    monkeypatch.setattr("ui.search.training_options", lambda: tuple(options_of(Some)))
    search.index.cache_clear()
    ways = search.index()["ways"]
    search.index.cache_clear()
    drawn = Drawn(form_html("option", options_of(Some), in_tabs=True))
    for item in options_of(Some):
        assert ways[item.section] == drawn.around[item.name]
    assert len(ways["Parameters/Basic/Deep/Deeper"]) == 4


def test_an_option_that_is_shown_beside_certain_values_only_says_which():
    assert search.index()["options"]["lr_scheduler_power"]["needs"] == {
        "lr_scheduler": "shown when LR Scheduler is polynomial",
    }
    assert search.index()["options"]["network_dim"]["needs"] == {"method": "shown on the tabs LoRA and LECO"}
    assert search.index()["options"]["epoch"]["needs"] == {"method": "shown on every tab but LECO"}


def test_a_help_text_cannot_end_the_script_that_holds_it(monkeypatch: pytest.MonkeyPatch):
    class Some(Group):
        odd: int = option(1, label="Odd", section="A", help="</script><b>")

    monkeypatch.setattr("ui.search.training_options", lambda: tuple(options_of(Some)))
    search.index.cache_clear()
    text = search.embedded()
    search.index.cache_clear()
    assert text.count("</") == 1


def test_the_options_of_utilities_are_found_with_all_the_tabs_that_have_them():
    entries = search.index()["utilities"]
    prefix = next(entry for entry in entries if entry["name"] == "prefix")
    assert prefix["form"] == "caption-basic"
    assert {"Captioning/WD14", "Captioning/Qwen-VL"} <= set(prefix["in"])
    listed = {(entry["label"], tab) for entry in entries for tab in entry["in"]}
    assert listed == {(item.label, job.tab) for job in UTILITIES.values() for item in job.settings_class().options()
                      if item.widget != "none"}  # fmt: skip
    assert search.index()["tabs"]["prepare-latents"] == ["Dataset", "prepare-latents"]
    assert search.index()["tabs"]["caption-blip"] == ["Utilities", "utilities-Captioning", "caption-blip"]
