"""Which state of the form something on the page was made from, so that the page can tell when the form has gone on.

What is made may take seconds, and answers may overtake each other: so it is not cleared when the form changes, but
carries the stamp of what it was made from, and the page's script compares it with that of the form as it is now.
"""

from __future__ import annotations

import hashlib

from engine.settings.values import BadValues
from ui.form import Form, Told
from ui.sentences import Sentences

SHOW_STAMP = "(stamp) => darkroom.formIs(stamp)"


def stamp_of(form: Form, told: Told) -> str:
    """A few characters that stand for all that the form says, also for what cannot be read of it."""
    said = form.readable(told).model_dump_json()
    try:
        form.settings(told)
    except BadValues as error:
        said += str(sorted(error.problems.items()))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def stamped(html: str, stamp: str) -> Sentences:
    """What was made from the form when it had this stamp."""
    return Sentences(f'<div class="of-form" data-form="{stamp}">{html}</div>' if html else "")
