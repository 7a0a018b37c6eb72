"""The search over options: an index of the declarations for the page's script, and the box to type into."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from engine.jobs import UTILITIES, Job
from engine.settings.option import Option
from engine.settings.training import training_options
from ui.dataset_tab import DATASET
from ui.form import METHOD, has_field
from ui.form_view import METHODS, way_to

BOX = """<div class="search" role="search">
<input id="option-search" type="search" aria-label="Find an option" placeholder="Find an option" autocomplete="off"
 title="Name, kohya_ss key, or words" role="combobox" aria-expanded="false" aria-controls="option-hits">
<ul id="option-hits" role="listbox" hidden></ul></div>"""


@cache
def index() -> dict[str, Any]:
    """What the page's script knows: every option by its name, and the tabs and accordions that lead to a section.

    What is said often is said once: a standing is a number in `standings`, a key like the name is left out, and a help
    text stands in the form that has a field for the option.
    """
    options = training_options()
    labels = {item.name: item.short_label for item in options}
    standings = list(dict.fromkeys(item.standing.text() for item in options if not item.acts))
    return {
        "options": {item.name: _entry(item, labels, standings) for item in options},
        "standings": standings,
        "ways": {item.section: way_to(item.section) for item in options if item.acts},
        "utilities": utilities(),
        "tabs": {name: tabs_to(job) for name, job in UTILITIES.items()},
    }


def utilities() -> list[dict[str, Any]]:
    """The utilities' options; one that several share is listed once, and leads to the first of them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, job in UTILITIES.items():
        for item in filter(has_field, job.settings_class().options()):
            entry = found.setdefault(
                (item.label, item.help),
                {
                    "form": name,
                    "name": item.name,
                    "label": item.label,
                    "also": item.kohya.also,
                    "in": [],
                },
            )
            entry["in"].append(job.tab)
    return [{key: value for key, value in entry.items() if value} for entry in found.values()]


def tabs_to(job: Job) -> list[str]:
    """The ids of the tabs around a utility's form, from the outside in."""
    group, _, _ = job.tab.partition("/")
    name = next(name for name, other in UTILITIES.items() if other is job)
    return [DATASET, name] if group == DATASET else ["Utilities", f"utilities-{group}", name]


def embedded() -> str:
    """The index for the page's head; `</` would end the script that holds it."""
    text = json.dumps(index(), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return f'<script type="application/json" id="option-index">{text}</script>'


def _entry(item: Option, labels: dict[str, str], standings: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "label": item.label,
        "key": item.kohya.key if item.kohya.key != item.name else "",
        "section": item.section,
        "help": "" if has_field(item) else item.help,
        "also": item.kohya.also,
        "choices": {choice: item.not_yet.get(choice, "") for choice in item.choices if choice},
    }
    if item.acts:
        range_text = "" if item.choices else item.range_text()
        facts |= {"standard": item.value_text(item.default), "range": range_text, "needs": _needs(item, labels)}
    else:
        facts |= {"standing": standings.index(item.standing.text())}
    return {name: fact for name, fact in facts.items() if fact not in ("", (), {})}


def _needs(item: Option, labels: dict[str, str]) -> dict[str, str]:
    """By option, the value it must have for this one to be shown."""
    needed = {
        name: f"{labels.get(name, name)} is {' or '.join(item.value_text(value) for value in values)}"
        for condition in (item.applies_when, item.also_when)
        for name, values in (condition or {}).items()
    }
    joint = "or" if item.also_when else "shown"
    told = {name: f"{joint if place else 'shown'} when {text}" for place, (name, text) in enumerate(needed.items())}
    tabs = [words for method, words in METHODS.items() if item.is_for(method)]
    others = [words for words in METHODS.values() if words not in tabs]
    if len(others) in (1, 2):
        told[METHOD] = f"shown on every tab but {' and '.join(others)}"
    elif others:
        told[METHOD] = f"shown on the tab{'s' * (len(tabs) > 1)} {' and '.join(tabs)}"
    return told
