"""Which state of the form a result on the page was made from, so that the page can tell when the form has changed.

Results may take seconds, and answers may overtake each other: so a result is not cleared when the form changes, but
carries the stamp of the form it was made from, which the page's script compares with the current one.
"""

from __future__ import annotations

import hashlib

from engine.settings.values import BadValues
from ui.form import Form, Told
from ui.sentences import Sentences

SHOW_STAMP = "(stamp) => darkroom.formIs(stamp)"


def stamp_of(form: Form, told: Told) -> str:
    """A short hash of everything in the form, including invalid values."""
    said = form.readable(told).model_dump_json()
    try:
        form.settings(told)
    except BadValues as error:
        said += str(sorted(error.problems.items()))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def stamped(html: str, stamp: str) -> Sentences:
    """A result made from the form with this stamp."""
    return Sentences(f'<div class="of-form" data-form="{stamp}">{html}</div>' if html else "")
