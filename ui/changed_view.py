"""What differs, as tables: the form from the defaults, and a preset from the form.  Pure functions of settings."""

from __future__ import annotations

import json
from html import escape

from engine.settings.option import Option
from engine.settings.presets import changed
from engine.settings.training import TrainingSettings, training_options


def changed_table(settings: TrainingSettings) -> str:
    """The options that differ from their defaults, each with a link to its field and a button that resets it."""
    items = changed(settings)
    if not items:
        return '<div class="changed none">Every option is at its default.</div>'
    rows = "".join(_changed_row(item, settings) for item in items)
    count = "1 option differs from its default" if len(items) == 1 else f"{len(items)} options differ from the defaults"
    return (
        f'<details class="changed"><summary>{count}</summary><table>'
        "<thead><tr><th>Option</th><th>Value</th><th>Default</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def preview_table(before: TrainingSettings, after: TrainingSettings) -> str:
    """What applying would change: option, from, to."""
    differing = [item for item in training_options() if item.value_in(before) != item.value_in(after)]
    if not differing:
        return "<p>The form already has these values; nothing would change.</p>"
    rows = "".join(
        f"<tr><td>{link(item)}</td><td>{_value(item, before)}</td><td>{_value(item, after)}</td></tr>"
        for item in differing
    )
    return f"<table><thead><tr><th>Option</th><th>Now</th><th>After</th></tr></thead><tbody>{rows}</tbody></table>"


def link(item: Option) -> str:
    """The option's label, as a link to its field if it has one."""
    label = escape(item.short_label)
    if not item.acts:
        return f'<span title="{escape(item.standing.text())}">{label} <i>(no effect here)</i></span>'
    return f'<a onclick="darkroom.goTo({escape(json.dumps(item.name))})">{label}</a>'


def _changed_row(item: Option, settings: TrainingSettings) -> str:
    usual = item.value_text(item.value_in(TrainingSettings().for_method(settings.method)))
    back = f"Reset to {usual}"
    return (
        f"<tr><td>{link(item)}</td><td>{_value(item, settings)}</td><td>{_cut(usual)}</td>"
        f'<td><button data-reset="{item.name}" title="{escape(back)}" aria-label="Reset {escape(item.short_label)}">'
        "↺</button></td></tr>"
    )


def _value(item: Option, settings: TrainingSettings) -> str:
    return _cut(item.value_text(item.value_in(settings)))


def _cut(text: str, most: int = 60) -> str:
    """The value, cut off at the start if it is long: the end of a path says most."""
    return escape(text) if len(text) <= most else f'<span title="{escape(text)}">…{escape(text[1 - most :])}</span>'
