"""The values of the utilities' forms, remembered by the browser: a reloaded page shows them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from engine.settings.values import writable
from ui.form import SILENT, Told
from ui.kept import Kept, written
from ui.utility_form import UtilityForm


class Remembered:
    """Construct it within gr.Blocks."""

    def __init__(self, forms: Sequence[UtilityForm]) -> None:
        self._forms = forms
        self.kept = Kept("utilities")

    def connect(self, blocks: gr.Blocks) -> None:
        forms = [form.form.shown for form in self._forms]
        self.kept.when_loaded(blocks, self.filled, forms)
        keep: dict[str, Any] = {"fn": lambda *told: written(self.told(*told)), "queue": False, **SILENT}
        for form in forms:
            form.edited(**keep, inputs=forms, outputs=[self.kept.text], trigger_mode="always_last")

    def told(self, *told: Told) -> dict[str, dict[str, Any]]:
        """What the browser keeps: by utility and option, without secrets and defaults."""
        return {
            form.job: {
                name: kept
                for name, value in form.form.readable(said).values().items()
                if (item := form.form.options.get(name)) and (kept := writable(item, value)[0]) != item.default
            }
            for form, said in zip(self._forms, told, strict=True)
        }

    def filled(self, kept: Any) -> list[Any]:
        """Values of all forms; unknown values stored by another version are ignored."""
        return [self._filled(form, kept.get(form.job) if isinstance(kept, dict) else None) for form in self._forms]

    def _filled(self, form: UtilityForm, known: Any) -> Any:
        given = {name: known[name] for name in form.form.options if name in known} if isinstance(known, dict) else {}
        return form.form.fill(form.form.readable({"values": given})) if given else gr.skip()
