"""One utility: its form, its start, and what prevents it.  Its run is watched like any other."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from engine.begin import begin_utility, busy_problem
from engine.check.problem import Checked
from engine.jobs import UTILITIES
from engine.settings.values import BadValues, JobSettings
from ui.findings import bad_values, findings_html
from ui.form import SILENT, Form, Told
from ui.runs_panel import RunsPanel

LEAD_TO_RUN = "(findings) => findings || darkroom.leadTo('utility-runs')"


class UtilityForm:
    """Draws itself within gr.Blocks.  job: its name among the jobs."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.form = Form(UTILITIES[job].settings_class(), job)

    def draw(self) -> None:
        gr.HTML(f'<p class="lead">{escape(UTILITIES[self.job].help)}</p>', padding=False)
        self.form.draw()
        self.start = gr.Button("Start", variant="primary", elem_id=f"{self.job}-start")
        self.findings = gr.HTML(elem_id=f"{self.job}-findings")

    def connect(self, panel: RunsPanel) -> None:
        def start(*told: Told) -> list[Any]:
            checked, run = self._begin(*told)
            shown = findings_html(checked, self.form) if checked.problems else ""
            return [shown, panel.choose(run) if run else gr.skip()]

        started = self.start.click(start, self.inputs, [self.findings, panel.chosen], **SILENT)
        started.then(panel.tick, [panel.chosen, panel.seen], panel.outputs, **SILENT).then(
            None, [self.findings], None, js=LEAD_TO_RUN
        )

    def connect_offers(self, events: list[Any], offer: Callable[..., dict[str, str]], source: gr.State) -> None:
        """At these events, fill in fields from the current source, if they are empty or hold an earlier offer.

        offer: turns the value of `source` into values by option.
        """
        offered = gr.State(dict[str, str]())

        def fill(in_hand: Any, before: dict[str, str], told: Told) -> list[Any]:
            now, shown = offer(in_hand), self.form.readable(told).values()
            free = {name: now[name] for name in now if not shown[name] or shown[name] == before.get(name)}
            return [before | now, self.form.set(told, free) if free else gr.skip()]

        for event in events:
            event(fill, [source, offered, self.form.shown], [offered, self.form.shown], queue=False, **SILENT)

    @property
    def inputs(self) -> list[Any]:
        """The components that settings() reads."""
        return [self.form.shown]

    def settings(self, *told: Told) -> JobSettings:
        """The form's settings.  Raises BadValues."""
        return self.form.settings(told[0])

    def _begin(self, *told: Told) -> tuple[Checked, Any]:
        try:
            settings = self.settings(*told)
        except BadValues as error:
            return bad_values(error), None
        if busy := busy_problem():
            return Checked([busy], None), None
        return begin_utility(self.job, settings)
