"""What the utilities' forms say, remembered by the browser: a page that is loaded anew shows it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from engine.settings.values import writable
from ui.form import SILENT
from ui.kept import Kept, written
from ui.utility_form import UtilityForm


class Remembered:
    """Construct it within gr.Blocks.  One event for all forms, so that the page stays small."""

    def __init__(self, forms: Sequence[UtilityForm]) -> None:
        self._forms = forms
        self.kept = Kept("utilities")

    def connect(self, blocks: gr.Blocks) -> None:
        fields = [component for form in self._forms for component in form.form.inputs]
        self.kept.when_loaded(blocks, self.filled, fields)
        gr.on(
            [field.change for field in fields],
            lambda *values: written(self.told(*values)),
            fields,
            [self.kept.text],
            queue=False,
            trigger_mode="always_last",
            **SILENT,
        )

    def told(self, *values: Any) -> dict[str, dict[str, Any]]:
        """What the browser keeps: by utility and option, secrets left out, and what is at its default."""
        rest = list(values)
        return {
            form.job: {
                name: value
                for name, item in form.form.options.items()
                if (value := writable(item, rest.pop(0))[0]) != item.default
            }
            for form in self._forms
        }

    def filled(self, kept: Any) -> list[Any]:
        """Updates of all fields; what was kept by another version, and has no meaning here, is passed over."""
        updates: list[Any] = []
        for form in self._forms:
            known = kept.get(form.job) if isinstance(kept, dict) else None
            options = form.form.options
            given = {name: value for name, value in known.items() if name in options} if isinstance(known, dict) else {}
            base = form.defaults()
            values = tuple(given.get(name, item.default) for name, item in options.items())
            settings = form.form.readable(values, base)
            updates += [item.value_in(settings) if name in given else gr.skip() for name, item in options.items()]
        return updates
