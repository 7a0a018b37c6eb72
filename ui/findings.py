"""What the check found, as a list that links to the fields."""

from __future__ import annotations

import json
from html import escape

from engine.check.problem import Checked, Problem
from engine.settings.values import BadValues
from ui.form import Form


def findings_html(checked: Checked, form: Form) -> str:
    """The list of what is wrong; each line links to its field."""
    if not checked.problems:
        return '<div class="findings good">Ready to start.</div>'
    lines = "".join(
        f'<li class="{"blocking" if p.blocking else "advice"}">'
        f'<a onclick="darkroom.goTo({_text(p.option)}, {_text(form.name)})">{escape(_label(form, p.option))}</a> '
        f"{escape(p.what)} <i>{escape(p.mend)}</i></li>"
        for p in checked.problems
    )
    head = "You can start, but note:" if checked.can_start else "Fix this before you start:"
    return f'<div class="findings"><b>{head}</b><ul>{lines}</ul></div>'


def _text(value: str) -> str:
    """A text within JavaScript within an attribute."""
    return escape(json.dumps(value))


def _label(form: Form, option: str) -> str:
    return form.options[option].short_label + ":" if option in form.options else ""


def bad_values(error: BadValues) -> Checked:
    """Invalid values, as findings."""
    return Checked([Problem(name, sentence) for name, sentence in error.problems.items()], None)
