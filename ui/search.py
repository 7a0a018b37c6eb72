"""The search over options: an index of the declarations for the page's script, and the box to type into."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from engine.settings.option import Option
from engine.settings.training import training_options
from ui.form import way_to

BOX = """<div class="search" role="search">
<input id="option-search" type="search" placeholder="Search options: words, or a key of kohya_ss" autocomplete="off"
 role="combobox" aria-label="Search options" aria-expanded="false" aria-controls="option-hits">
<ul id="option-hits" role="listbox" hidden></ul></div>"""


@cache
def index() -> dict[str, Any]:
    """What the page's script knows: every option by its name, and the tabs and accordions that lead to a section."""
    options = training_options()
    labels = {item.name: item.short_label for item in options}
    return {
        "options": {item.name: _entry(item, labels) for item in options},
        "ways": {item.section: way_to(item.section) for item in options if item.acts},
    }


def embedded() -> str:
    """The index for the page's head; `</` would end the script that holds it."""
    text = json.dumps(index(), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return f'<script type="application/json" id="option-index">{text}</script>'


def _entry(item: Option, labels: dict[str, str]) -> dict[str, Any]:
    facts = {
        "label": item.label,
        "key": item.kohya,
        "section": item.section,
        "help": item.help,
        "standard": item.value_text(item.default),
        "range": "" if item.choices else item.range_text(),
        "also": item.also,
        "choices": {choice: item.not_yet.get(choice, "") for choice in item.choices if choice},
        "standing": "" if item.acts else item.standing.text(),
        "needs": _needs(item, labels) if item.acts else {},
    }
    return {name: fact for name, fact in facts.items() if fact}


def _needs(item: Option, labels: dict[str, str]) -> dict[str, str]:
    """By option, what its value must be for this one to have a field on the page."""
    return {
        name: f"shown where {labels.get(name, name)} is {' or '.join(map(str, values))}"
        for name, values in (item.applies_when or {}).items()
    }
