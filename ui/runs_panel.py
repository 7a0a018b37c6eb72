"""The run beside the form: choose one, watch it, stop it, resume it."""

from __future__ import annotations

import json
from contextlib import suppress
from html import escape
from typing import Any

import gradio as gr

from engine.begin import CannotResume, busy_problem, resume
from engine.runs import process
from engine.runs.folder import RunFolder, all_runs
from engine.runs.listing import run_named
from ui import run_view
from ui.clicks import clicks_on
from ui.form import SILENT
from ui.kept import Kept, written
from ui.watched import Look, watched

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
        self.kept = Kept("run")
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
        self.kept.when_loaded(blocks, _first, [self.chosen]).then(**look, **SILENT)
        self.chosen.change(_kept, [self.chosen], [self.kept.text], queue=False, **SILENT)
        self.timer.tick(**look, queue=False, **SILENT)
        self.chosen.focus(_relisted, None, [self.chosen], **SILENT)
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
        try:
            look = run.look() if (run := watched(name)) else None
        except OSError:  # deleted between two of its files
            if run_named(name):
                raise
            look = None
        if look is None:
            return self._nothing(name, seen)
        before = _seen(seen, len(look.state))
        if look.state == before:
            return [gr.skip()] * 11
        same_run = before[0] == look.state[0]

        def news(html: str, *places: int) -> Any:
            return gr.skip() if same_run and all(look.state[i] == before[i] for i in places) else html

        return [
            json.dumps(look.state),
            look.overview,
            news(look.chart, 1),
            news(look.samples, 4),
            news(look.log, 5),
            *(news(button, 2, 3) for button in self._buttons(look)),
            f"{name} {look.state[1]}" if look.has_ended else gr.skip(),
        ]

    def _look_anew(self, name: str | None) -> list[Any]:
        return self.tick(name, None) if name else self._nothing(None, "shown")

    def _nothing(self, name: str | None, seen: str | None) -> list[Any]:
        """In the place of no run, and of one that is not there any more."""
        state = json.dumps([name, "gone"]) if name else ""
        if (seen or "") == state:
            return [gr.skip()] * 11
        hidden = [gr.update(visible=False)] * 5
        return [state, run_view.gone(name) if name else run_view.NO_RUN, "", "", "", *hidden, gr.skip()]

    def _buttons(self, look: Look) -> list[Any]:
        status, stopping = look.status, look.stopping
        alive = status in ("starting", "running", "silent", "ending")
        can_save = status == "running" and not stopping and look.job == "train"
        can_hear = status in ("starting", "running") and not stopping
        return [
            gr.update(visible=can_hear),
            gr.update(visible=alive and not can_hear),
            gr.update(visible=status in ("died", "stopped", "failed")),
            gr.update(visible=can_save),
            gr.update(visible=can_save),
        ]


def _seen(seen: str | None, count: int) -> list[Any]:
    """The state that a page says it shows; it comes back from the browser, so it may be anything."""
    try:
        state = json.loads(seen or "null")
    except ValueError:
        state = None
    return state if isinstance(state, list) and len(state) == count else [None] * count


def _kept(name: str | None) -> str:
    """What the browser keeps: the run that is chosen, and the newest that there was then."""
    return written([name, _newest()])


def _first(kept: Any) -> Any:
    """What a page shows first: the run that it showed before it was loaded anew, unless there is a newer one since."""
    newest = _newest()
    name = kept[0] if isinstance(kept, list) and len(kept) == 2 and kept[1] == newest else None
    return gr.update(choices=_choices(), value=name if isinstance(name, str) and run_named(name) else newest)


def _newest() -> str | None:
    newest = next(all_runs(), None)
    return newest.name if newest else None


def _relisted() -> Any:
    """The runs there are now; the choice is left alone, for it may have changed while this was asked."""
    return gr.update(choices=_choices())


def _choices() -> list[tuple[str, str]]:
    choices = []
    for run, _ in zip(all_runs(), range(MOST_LISTED), strict=False):
        with suppress(OSError):  # deleted meanwhile
            choices.append((run_view.run_choice(run), run.name))
    return choices


def _run(name: str | None) -> RunFolder | None:
    """The run that a button is pressed for; where it is gone, that is said."""
    run = run_named(name)
    if run is None and name:
        gr.Warning(escape(run_view.GONE.format(name)))
    return run


def _asking(request: Any) -> Any:
    def ask(name: str | None) -> None:
        if run := _run(name):
            try:
                run.ask(request)
            except FileNotFoundError:
                gr.Warning(escape(run_view.GONE.format(name)))

    return ask


def _kill(name: str | None) -> None:
    if run := _run(name):
        process.kill(run)


def _resume(name: str | None) -> None:
    """Start the engine again on a run that has none, unless another run is going on."""
    run = _run(name)
    if run is None:
        return
    if (busy := busy_problem()) is not None:
        gr.Warning(escape(f"{busy.what} {busy.mend}"))
        return
    try:
        resume(run)
    except CannotResume as error:
        gr.Warning(escape(str(error)))
    except FileNotFoundError:
        gr.Warning(escape(run_view.GONE.format(name)))
