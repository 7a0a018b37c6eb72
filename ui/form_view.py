"""The form as HTML, drawn once from the declarations.  Pure functions of options.

When a field is shown, and what happens to its value, is up to the page's script (assets/form.js), which finds what it
needs in the attributes written here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from engine.settings.form_plan import headed
from engine.settings.option import Option, sections_of
from engine.settings.training import Method
from ui.sentences import Sentences

METHODS: dict[Method, str] = {
    "dreambooth": "DreamBooth", "lora": "LoRA", "textual_inversion": "Textual Inversion", "finetune": "Finetuning",
    "leco": "LECO", "hypernetwork": "Hypernetwork",
}  # fmt: skip
"""The methods there are: in the order and words of kohya_ss's tabs, then what it has none for."""

DEEPEST_TAB = 2
"""Levels of sections that are tabs; deeper ones are folds."""

WIDE = ("lines", "path", "folder", "file")
"""Widgets that need the form's width."""

PICKED = ("path", "folder", "file")
"""Widgets whose value can be chosen from the disk."""

FOR_TEMPLATES = str.maketrans({"\\": "&#92;", "`": "&#96;", "$": "&#36;", "{": "&#123;"})
"""Gradio treats an HTML component's markup as a template in two languages; these characters are its syntax."""


@dataclass
class Section:
    """Options under one name, and the sections within it.  path: such as "Parameters/Basic"."""

    path: str
    options: list[Option] = field(default_factory=list)
    within: list[Section] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def tree_of(options: Sequence[Option]) -> list[Section]:
    """The sections of these options as a tree, in order; its top-level ones."""
    root = Section("")
    known = {"": root}
    for deepest in sections_of(options):
        parts = deepest.split("/")
        for path in ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1)):
            if path not in known:
                known[path] = Section(path)
                known[path.rpartition("/")[0]].within.append(known[path])
    for item in options:
        known[item.section].options.append(item)
    return root.within


def form_html(name: str, options: Sequence[Option], in_tabs: bool) -> Sentences:
    """A field for each option, under tabs and folds by section, or under plain headings.

    name: prefix of its fields' ids, so that those of several forms differ.
    """
    sections = tree_of(options)
    if in_tabs:
        html = _tabs(name, sections, "Settings", level=1)
    else:
        html = "".join(f"<section><h4>{escape(one.name)}</h4>{_options(name, one)}</section>" for one in sections)
    return Sentences(f'<div class="option-form">{html}</div>')


def methods_html(chosen: Method) -> Sentences:
    """The tabs of the methods, as in kohya_ss; they all show one form, which adapts to the choice."""
    tabs = "".join(
        f'<button type="button" role="tab" data-method="{method}" aria-selected="{_truth(method == chosen)}" '
        f'aria-controls="form-option" tabindex="{0 if method == chosen else -1}">{words}</button>'
        for method, words in METHODS.items()
    )
    return Sentences(f'<div class="form-tabs methods" role="tablist" aria-label="What to train">{tabs}</div>')


def as_template(html: str) -> str:
    return html.translate(FOR_TEMPLATES)


def way_to(section: str) -> list[tuple[str, str]]:
    """What to open, from the outside in, to reveal a section: ("tab", its id) and ("fold", its element's id)."""
    parts = section.split("/")
    sections = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [
        ("tab", name) if depth < DEEPEST_TAB else ("fold", f"section-{_slug(name)}")
        for depth, name in enumerate(sections)
    ]


# ── sections ──────────────────────────────────────────────────────────────────────────────────────


def _tabs(form: str, sections: Sequence[Section], label: str, level: int) -> str:
    heads = "".join(
        f'<button type="button" role="tab" id="{_id(form, "tab", one)}" data-tab-id="{escape(one.path)}" '
        f'aria-controls="{_id(form, "panel", one)}" aria-selected="{_truth(not place)}" '
        f'tabindex="{-1 if place else 0}">{escape(one.name)}</button>'
        for place, one in enumerate(sections)
    )
    panels = "".join(
        f'<div role="tabpanel" id="{_id(form, "panel", one)}" aria-labelledby="{_id(form, "tab", one)}"'
        f"{' hidden' if place else ''}>{_options(form, one)}{_within(form, one, level)}</div>"
        for place, one in enumerate(sections)
    )
    return f'<div class="form-tabs" role="tablist" aria-label="{escape(label)}">{heads}</div>{panels}'


def _within(form: str, section: Section, level: int) -> str:
    if section.within and level < DEEPEST_TAB:
        return _tabs(form, section.within, section.name, level + 1)
    return "".join(
        f'<details class="fold" id="section-{_slug(one.path)}"><summary>{escape(one.name)}</summary>'
        f"{_options(form, one)}{_within(form, one, level + 1)}</details>"
        for one in section.within
    )


def _options(form: str, section: Section) -> str:
    return "".join(
        f'<div class="block">{f"<h5>{escape(heading)}</h5>" if heading else ""}'
        f'<div class="options">{"".join(_field(form, item) for item in options)}</div></div>'
        for heading, options in headed(section.path, section.options)
    )


def _id(form: str, kind: str, section: Section) -> str:
    return f"{form}-{kind}-{_slug(section.path)}"


def _slug(section: str) -> str:
    return section.lower().replace("/", "-").replace(" ", "-")


# ── a field ───────────────────────────────────────────────────────────────────────────────────────


def _field(form: str, item: Option) -> str:
    key = f"{form}-{item.name}"
    kinds = ["option", *(["wide"] if item.widget in WIDE else []), *(["tick"] if item.kind is bool else [])]
    words, control = f"<span>{escape(item.label)}</span>", _control(key, item)
    label = f"<label>{control}{words}</label>" if item.kind is bool else f"<label>{words}{control}</label>"
    about = f'<p class="help" id="{key}-help">{escape(item.help)}</p>'
    picked = f' data-pick="{item.widget}"' if item.widget in PICKED else ""
    return (
        f'<div class="{" ".join(kinds)}" id="{key}"{picked}{_meaning(item)}>'
        f"{label}{_beside(key, item)}{about if item.help else ''}</div>"
    )


def _control(key: str, item: Option) -> str:
    """The element with the option's name and value."""
    common = f'name="{item.name}"' + (f' aria-describedby="{key}-help"' if item.help else "")
    shown = escape(text_of(item, item.default))
    if item.kind is bool:
        return f'<input type="checkbox" {common}{" checked" if item.default else ""}>'
    if item.choices:
        choices = "".join(
            f'<option value="{escape(choice)}"{" selected" if choice == item.default else ""}>'
            f"{escape(_words_of(item, choice))}</option>"
            for choice in item.choices
        )
        return f"<select {common}>{choices}</select>"
    if item.widget == "lines":
        return f'<textarea {common} rows="4">{shown}</textarea>'
    if item.kind is str:
        kind = ' type="password"' if item.widget == "secret" else ""
        suggested = f' list="{key}-list"' if item.suggestions else ""
        return f'<input{kind} {common}{suggested} value="{shown}">'
    mode = "numeric" if item.kind is int else "decimal"
    return f'<input inputmode="{mode}" {common} value="{shown}">'


def _beside(key: str, item: Option) -> str:
    """An aid for entering the value: suggestions to choose from, or a slider."""
    if item.suggestions:
        usual = "".join(f'<option value="{escape(one)}">' for one in item.suggestions)
        return f'<datalist id="{key}-list">{usual}</datalist>'
    if item.widget == "slider":
        step = item.step or (1 if item.kind is int else "any")
        return (
            f'<input type="range" aria-label="{escape(item.short_label)}, slider" '
            f'min="{item.at_least:g}" max="{item.at_most:g}" step="{step}" value="{text_of(item, item.default)}">'
        )
    return ""


def text_of(item: Option, value: Any) -> str:
    """A value as shown in a field: numbers as people write them."""
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if 1e-8 <= abs(value) < 1e8 else f"{value:g}"
    return str(value)


def _meaning(item: Option) -> str:
    """For which values of others the option applies: Option.applies(), for the page's script."""
    alternatives = [condition for condition in (item.applies_when, item.also_when) if condition]
    told = json.dumps(alternatives, separators=(",", ":"), default=list)
    return (f' data-when="{escape(told)}"' if alternatives else "") + _methods_of(item)


def _methods_of(item: Option) -> str:
    """Those that the option is for, or those that it is not for, whichever are fewer."""
    these = [method for method in METHODS if item.is_for(method)]
    others = [method for method in METHODS if method not in these]
    if len(these) <= len(others):
        return f' data-methods="{" ".join(these)}"'
    return f' data-not="{" ".join(others)}"' if others else ""


def _words_of(item: Option, choice: str) -> str:
    return (choice or "(none)") + (" (not yet)" if choice in item.not_yet else "")


def _truth(value: bool) -> str:
    return "true" if value else "false"
