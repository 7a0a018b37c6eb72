"""One utility: its form, its start, and what stands against it.  What it does is watched where every run is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from engine.begin import begin_utility, busy_problem
from engine.check.problem import Checked
from engine.jobs import UTILITIES
from engine.settings.values import BadValues, JobSettings
from ui.findings import bad_values, findings_html
from ui.form import SILENT, Form
from ui.runs_panel import RunsPanel


class UtilityForm:
    """Draws itself within gr.Blocks.  job: its name among the jobs."""

    def __init__(self, job: str) -> None:
        self.job = job
        self._settings_class = UTILITIES[job].settings_class()
        self.form = Form(self._settings_class, job)

    def draw(self) -> None:
        self.base = gr.State(self.defaults())
        gr.Markdown(UTILITIES[self.job].help)
        for section in self.form.tabs():
            gr.HTML(f"<h4>{section}</h4>", elem_classes="section-head", padding=False)
            self.form.draw(section)
        self.start = gr.Button("Start", variant="primary", elem_id=f"{self.job}-start")
        self.findings = gr.HTML(elem_id=f"{self.job}-findings")

    def connect(self, panel: RunsPanel) -> None:
        self.form.connect_visibility(self.base)
        inputs = [self.base, *self.inputs]

        def start(base: Any, *values: Any) -> list[Any]:
            checked, run = self._begin(base, values)
            shown = findings_html(checked, self.form) if checked.problems else ""
            return [shown, panel.choose(run) if run else gr.skip()]

        self.start.click(start, inputs, [self.findings, panel.chosen], **SILENT).then(
            panel.tick, [panel.chosen, panel.seen], panel.outputs, **SILENT
        )

    def connect_offers(self, events: list[Any], offer: Callable[..., dict[str, str]], source: gr.State) -> None:
        """At these events begin with what is in hand: fields that are empty, or that hold what was offered before.

        offer: of what stands in `source` makes values by option.
        """
        offered = gr.State(dict[str, str]())

        def fill(in_hand: Any, before: dict[str, str], *values: Any) -> dict[Any, Any]:
            now, shown = offer(in_hand), dict(zip(self.form.options, values, strict=True))
            free = [name for name in now if not shown[name] or shown[name] == before.get(name)]
            return {offered: before | now, **{self.form.components[name]: now[name] for name in free}}

        outputs = [offered, *self.form.inputs]
        for event in events:
            event(fill, [source, offered, *self.form.inputs], outputs, queue=False, **SILENT)

    @property
    def inputs(self) -> list[Any]:
        """The components that settings() reads."""
        return self.form.inputs

    def defaults(self) -> JobSettings:
        return self._settings_class()

    def settings(self, values: tuple[Any, ...], base: JobSettings) -> JobSettings:
        """What the form says.  Raises BadValues."""
        return self.form.settings(values, base)

    def _begin(self, base: Any, values: tuple[Any, ...]) -> tuple[Checked, Any]:
        try:
            settings = self.settings(values, base)
        except BadValues as error:
            return bad_values(error), None
        if busy := busy_problem():
            return Checked([busy], None), None
        return begin_utility(self.job, settings)
