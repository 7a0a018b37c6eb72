"""Comparing two captioners: a form that takes their settings from their own tabs, and goes back to one of them."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from engine.begin import CannotResume, settings_of
from engine.failure import Failure
from engine.runs.listing import run_named
from engine.settings.values import JobSettings
from engine.tools.compare import Settings, captioner_settings, job_name
from ui.form import SILENT, Told
from ui.runs_panel import RunsPanel
from ui.utility_form import UtilityForm

JOB = "compare-captioners"

LEAD_TO_TAB = "(name) => name && darkroom.openTab(name)"


class ComparisonForm(UtilityForm):
    """captioners: the forms to choose the two from, by their jobs' names."""

    def __init__(self, captioners: dict[str, UtilityForm]) -> None:
        super().__init__(JOB)
        self._captioners = captioners

    @property
    def inputs(self) -> list[Any]:
        return [self.form.shown, *self._fields()]

    def _fields(self) -> list[Any]:
        return [captioner.form.shown for captioner in self._captioners.values()]

    def settings(self, *told: Told) -> JobSettings:
        settings = self.form.settings(told[0])
        assert isinstance(settings, Settings)
        given = dict(zip(self._captioners, told[1:], strict=True))
        options = {
            option: json.dumps(self._captioners[job].form.values(given[job]))
            for job, option in ((job_name(name), option) for name, _, option in settings.sides())
        }
        return settings.with_values(options)

    def connect(self, panel: RunsPanel) -> None:
        super().connect(panel)
        chosen = gr.Textbox(visible="hidden")

        def use(run: str | None, click: gr.EventData, *told: Told) -> list[Any]:
            """Fill the captioner's tab as it was when it was compared."""
            name, values = _compared(run, int(click.option))
            filled = [
                captioner.form.set(said, values) if job == name else gr.skip()
                for (job, captioner), said in zip(self._captioners.items(), told, strict=True)
            ]
            return [name, *filled]

        used = panel.samples.click(use, [panel.chosen, *self._fields()], [chosen, *self._fields()], **SILENT)
        used.then(None, [chosen], None, js=LEAD_TO_TAB)


def _compared(run: str | None, place: int) -> tuple[str, dict[str, Any]]:
    """The captioner's job and its form values for the whole folder; an empty name if the run is not a comparison."""
    found = run_named(run)
    try:
        settings = settings_of(found) if found else None
        if not isinstance(settings, Settings):
            return "", {}
        name, options, _ = settings.sides()[place]
        inner = captioner_settings(name, options, settings.pictures.train_data_dir)
    except (CannotResume, Failure, OSError, ValueError, IndexError):
        return "", {}
    given = json.loads(options or "{}")
    values = inner.values() | {"recursive": settings.pictures.recursive, "overwrite": given.get("overwrite", False)}
    return job_name(name), values
