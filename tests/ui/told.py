"""A form's value, as the page's script makes it."""

from __future__ import annotations

from typing import Any

from engine.settings.values import JobSettings
from ui.form import Form, Told


def told_by(form: Form[Any], base: JobSettings | None = None, **changes: Any) -> Told:
    """What the form says after base was shown in it, with some fields filled in otherwise."""
    told = form.fill(base) if base is not None else {"values": {}, "rest": "", "serial": 0}
    return told | {"values": told["values"] | changes}
