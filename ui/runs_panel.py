"""The run beside the form: choose one, watch it, stop it, resume it."""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from engine.begin import CannotResume, busy_problem, resume
from engine.runs import process
from engine.runs.folder import RunFolder, all_runs, runs_root
from engine.runs.history import History
from ui import run_view
from ui.clicks import clicks_on
from ui.form import SILENT

LOOK_EVERY = 1.0
"""Seconds between two looks at the shown run."""

MOST_LISTED = 50


class RunsPanel:
    """Draws itself within gr.Blocks; a run is known by its folder's name.

    seen: what the page shows of the run, as JSON. It is kept in the page rather than on the server: of two answers that
    overtake each other on their way, the later one decides what is shown, and so what the next look compares with.
    ended: the name of the shown run once it has ended, and how many events it told: changes, for others to look.
    """

    def draw(self) -> None:
        self.chosen = gr.Dropdown([], label="Run", elem_id="run", allow_custom_value=True)
        self.seen = gr.Textbox(visible="hidden")
        self.ended = gr.Textbox(visible="hidden")  # not a State, whose changes the timer's events do not tell
        with gr.Row(elem_classes="actions"):
            self.stop = gr.Button("Stop", elem_id="stop", variant="stop", min_width=80, visible=False)
            self.kill = gr.Button("End at once", elem_id="kill", variant="stop", min_width=100, visible=False)
            self.resume = gr.Button("Resume", elem_id="resume", min_width=90, visible=False)
            self.save = gr.Button("Save now", elem_id="save-now", min_width=90, visible=False)
            self.sample = gr.Button("Sample now", elem_id="sample-now", min_width=100, visible=False)
        self.overview = gr.HTML(run_view.NO_RUN, elem_id="overview")
        self.chart = gr.HTML(elem_id="chart")
        self.samples = gr.HTML(elem_id="samples", js_on_load=clicks_on("use"))
        with gr.Accordion("Log", open=False, elem_id="log-accordion"):
            self.log = gr.Textbox(
                show_label=False, lines=14, max_lines=14, interactive=False, elem_id="log", autoscroll=True
            )
        self.timer = gr.Timer(LOOK_EVERY)

    @property
    def outputs(self) -> list[Any]:
        """What tick() fills."""
        buttons = [self.stop, self.kill, self.resume, self.save, self.sample]
        return [self.seen, self.overview, self.chart, self.samples, self.log, *buttons, self.ended]

    def connect(self, blocks: gr.Blocks) -> None:
        look = {"fn": self.tick, "inputs": [self.chosen, self.seen], "outputs": self.outputs}
        blocks.load(self._newest, None, [self.chosen], **SILENT).then(**look, **SILENT)
        self.timer.tick(**look, queue=False, **SILENT)
        self.chosen.focus(self._relist, [self.chosen], [self.chosen], **SILENT)
        self.chosen.change(self._look_anew, [self.chosen], self.outputs, **SILENT)
        for button, request in ((self.stop, "stop"), (self.save, "save"), (self.sample, "sample")):
            button.click(_asking(request), [self.chosen], None, **SILENT).then(**look, **SILENT)
        self.kill.click(_kill, [self.chosen], None, **SILENT).then(**look, **SILENT)
        self.resume.click(_resume, [self.chosen], None, **SILENT).then(**look, **SILENT)

    def choose(self, run: RunFolder) -> Any:
        """An update of the list of runs that shows this one."""
        return gr.update(choices=_choices(), value=run.name)

    def tick(self, name: str | None, seen: str | None) -> list[Any]:
        """What has changed since `seen`; the rest is left as it is, so that the page does not flicker."""
        history = _history(name)
        if history is None:
            return self._look_anew(None) if seen else [gr.skip()] * 11
        history.update()
        status = history.status
        stopping = status in ("running", "starting") and history.run.stop_requested()
        pictures = len(history.samples) + len(history.captioned)
        state = [name, history.version, status, stopping, pictures, _log_size(history.run)]
        before = json.loads(seen) if seen else [None] * len(state)
        if state == before:
            return [gr.skip()] * 11
        steps_changed = state[:2] != before[:2]
        return [
            json.dumps(state),
            run_view.overview(history),
            run_view.chart(history) if steps_changed else gr.skip(),
            run_view.samples(history) if [name, state[4]] != [before[0], before[4]] else gr.skip(),
            run_view.log(history) if [name, state[5]] != [before[0], before[5]] else gr.skip(),
            *self._buttons(history.run, status, stopping, before[2:4] == state[2:4] and before[0] == name),
            f"{name} {history.version}" if status in run_view.ENDED else gr.skip(),
        ]

    def _look_anew(self, name: str | None) -> list[Any]:
        if _history(name) is None:
            hidden = [gr.update(visible=False)] * 5
            return ["", run_view.NO_RUN, "", "", "", *hidden, gr.skip()]
        return self.tick(name, None)

    def _buttons(self, run: RunFolder, status: str, stopping: bool, same: bool) -> list[Any]:
        if same:
            return [gr.skip()] * 5
        alive = status in ("starting", "running", "silent", "ending")
        can_save = status == "running" and not stopping and run.job == "train"
        can_hear = status in ("starting", "running") and not stopping
        return [
            gr.update(visible=can_hear),
            gr.update(visible=alive and not can_hear),
            gr.update(visible=status in ("died", "stopped", "failed")),
            gr.update(visible=can_save),
            gr.update(visible=can_save),
        ]

    def _newest(self) -> Any:
        newest = next(all_runs(), None)
        return gr.update(choices=_choices(), value=newest.name if newest else None)

    def _relist(self, name: str | None) -> Any:
        return gr.update(choices=_choices(), value=name)


@lru_cache(maxsize=8)
def _cached_history(name: str, root: str) -> History:
    return History(RunFolder(runs_root() / name))


def _history(name: str | None) -> History | None:
    """A run's history, read on from where it was left; None for no run or one that was deleted."""
    if not name or name not in {run.name for run in all_runs()}:
        return None
    return _cached_history(name, str(runs_root()))


def _choices() -> list[tuple[str, str]]:
    runs = [run for run, _ in zip(all_runs(), range(MOST_LISTED), strict=False)]
    return [(run_view.run_choice(run), run.name) for run in runs]


def _log_size(run: RunFolder) -> int:
    return run.log_file.stat().st_size if run.log_file.exists() else 0


def _asking(request: Any) -> Any:
    def ask(name: str | None) -> None:
        if history := _history(name):
            history.run.ask(request)

    return ask


def _kill(name: str | None) -> None:
    if history := _history(name):
        process.kill(history.run)


def _resume(name: str | None) -> None:
    """Start the engine again on a run that has none, unless another run is going on."""
    history = _history(name)
    if history is None:
        return
    if (busy := busy_problem()) is not None:
        gr.Warning(escape(f"{busy.what} {busy.mend}"))
        return
    try:
        resume(history.run)
    except CannotResume as error:
        gr.Warning(escape(str(error)))
