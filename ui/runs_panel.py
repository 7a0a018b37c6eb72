"""A run as it is watched: choose one, see it, stop it, resume it.  The utilities' stand apart from training's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.begin import CannotResume, busy_problem, resume
from engine.disk import why_not
from engine.jobs import UTILITIES
from engine.runs import process
from engine.runs.deleting import delete
from engine.runs.folder import RunFolder, RunIsHeld, all_runs
from engine.runs.listing import run_named
from ui import run_care, run_view
from ui.clicks import clicks_on
from ui.form import SILENT
from ui.kept import Kept, written
from ui.watched import Look, watched

LOOK_EVERY, LOOK_RARELY = 1.0, 30.0
"""Seconds between two looks at the shown run: while it goes on, and where there is hardly anything to be seen."""

PULSE = """const place = element.closest('.watched-run');
let last = Date.now();
const look = () => {
  if (document.hidden || !place.getClientRects().length) return;
  last = Date.now();
  trigger('look');
};
setInterval(() => Date.now() - last > 1000 * props.value - 500 && look(), 1000);
addEventListener('focus', look);
document.addEventListener('visibilitychange', look);"""
"""Looks as often as its value says, in seconds, and when somebody comes back; never where nobody sees it."""

MOST_LISTED = 50


class RunsPanel:
    """Draws itself within gr.Blocks; a run is known by its folder's name.

    of_utilities: whether it shows their runs, and not those of training.
    seen: what the page shows of the run, as JSON. It is kept in the page rather than on the server: of two answers that
    overtake each other on their way, the later one decides what is shown, and so what the next look compares with.
    ended: the name of the shown run once it has ended, and how many events it told: changes, for others to look.
    """

    def __init__(self, of_utilities: bool = False) -> None:
        self._of_utilities = of_utilities
        self._blocks: gr.Blocks | None = None

    def draw(self) -> None:
        begin = "utility-" if self._of_utilities else ""
        self.kept = Kept(f"{begin}run")
        self.seen = gr.Textbox(visible="hidden")
        self.ended = gr.Textbox(visible="hidden")  # not a State, whose changes unqueued events do not tell
        with gr.Row(elem_classes="run-choice"):
            self.chosen = gr.Dropdown([], label="Run", elem_id=f"{begin}run", allow_custom_value=True, min_width=200)
            hidden: dict[str, Any] = {"visible": False, "size": "md", "min_width": 70}
            self.stop = gr.Button("Stop", elem_id=f"{begin}stop", variant="stop", **hidden)
            self.kill = gr.Button("End now", elem_id=f"{begin}kill", variant="stop", **hidden)
            self.resume = gr.Button("Resume", elem_id=f"{begin}resume", **hidden)
            self.save = gr.Button("Save now", elem_id=f"{begin}save-now", **hidden)
            self.sample = gr.Button("Sample now", elem_id=f"{begin}sample-now", **hidden)
        self.overview = gr.HTML(self._none, elem_id=f"{begin}overview", js_on_load=run_care.TELLS)
        with gr.Column(elem_classes="run-pictures"):
            self.samples = gr.HTML(elem_id=f"{begin}samples", elem_classes="run-samples", js_on_load=clicks_on("use"))
            self.chart = gr.HTML(elem_id=f"{begin}chart", elem_classes="run-chart")
        with gr.Accordion("Log", open=False, elem_id=f"{begin}log-accordion"):
            self.log = gr.Textbox(
                show_label=False, lines=14, max_lines=14, interactive=False, elem_id=f"{begin}log", autoscroll=True
            )
        self.pulse = gr.HTML(LOOK_RARELY, html_template="", js_on_load=PULSE, visible="hidden")

    @property
    def outputs(self) -> list[Any]:
        """What tick() fills."""
        buttons = [self.stop, self.kill, self.resume, self.save, self.sample]
        return [self.seen, self.overview, self.chart, self.samples, self.log, *buttons, self.ended, self.pulse]

    def connect(self, blocks: gr.Blocks) -> None:
        self._blocks = blocks
        look = {"fn": self.tick, "inputs": [self.chosen, self.seen], "outputs": self.outputs}
        self.kept.when_loaded(blocks, self.first, [self.chosen]).then(**look, **SILENT)
        self.chosen.change(self.what_is_kept, [self.chosen], [self.kept.text], queue=False, **SILENT)
        self.pulse.look(**look, queue=False, **SILENT)
        self.chosen.focus(self.relisted, None, [self.chosen], **SILENT)
        self.chosen.change(self._look_anew, [self.chosen], self.outputs, **SILENT)
        self.overview.rename(self._rename, None, [self.chosen], **SILENT).then(**look, **SILENT)
        self.overview.delete(self._delete, None, [self.chosen], **SILENT)
        for button, request in ((self.stop, "stop"), (self.save, "save"), (self.sample, "sample")):
            button.click(_asking(request), [self.chosen], None, **SILENT).then(**look, **SILENT)
        self.kill.click(_kill, [self.chosen], None, **SILENT).then(**look, **SILENT)
        self.resume.click(_resume, [self.chosen], None, **SILENT).then(**look, **SILENT)

    def choose(self, run: RunFolder) -> Any:
        """An update of the list of runs that shows this one."""
        return gr.update(choices=self.choices(), value=run.name)

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
        self._allow(look.saved)
        before = _seen(seen, len(look.state))
        if look.state == before:
            return [gr.skip()] * 12
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
            LOOK_RARELY if look.has_ended else LOOK_EVERY,
        ]

    def _allow(self, files: list[Path]) -> None:
        """Let browsers have these files.  Handed to Gradio, they would be copied first, and they may be large."""
        allowed = self._blocks.allowed_paths if self._blocks else []
        allowed.extend(str(file) for file in files if str(file) not in allowed)

    def _look_anew(self, name: str | None) -> list[Any]:
        return self.tick(name, None) if name else self._nothing(None, "shown")

    def _nothing(self, name: str | None, seen: str | None) -> list[Any]:
        """In the place of no run, and of one that is not there any more."""
        state = json.dumps([name, "gone"]) if name else ""
        if (seen or "") == state:
            return [gr.skip()] * 12
        hidden = [gr.update(visible=False)] * 5
        return [state, run_view.gone(name) if name else self._none, "", "", "", *hidden, gr.skip(), LOOK_RARELY]

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

    @property
    def _none(self) -> str:
        return "" if self._of_utilities else run_view.NO_RUN

    def what_is_kept(self, name: str | None) -> str:
        """What the browser keeps: the run that is chosen, and the newest that there was then."""
        return written([name, self._newest()])

    def first(self, kept: Any) -> Any:
        """What a page shows first: the run that it showed before it was loaded anew, unless there is a newer one."""
        newest = self._newest()
        name = kept[0] if isinstance(kept, list) and len(kept) == 2 and kept[1] == newest else None
        is_there = isinstance(name, str) and run_named(name)
        return gr.update(choices=self.choices(), value=name if is_there else newest)

    def relisted(self) -> Any:
        """The runs there are now; the choice is left alone, for it may have changed while this was asked."""
        return gr.update(choices=self.choices())

    def _rename(self, event: gr.EventData) -> Any:
        if run := _run(run_care.named_by(event)):
            try:
                run.rename(str(event._data.get("title", "")))
            except OSError as error:
                gr.Warning(escape(f"The run was not renamed: {why_not(error)}."))
        return gr.update(choices=self.choices())

    def _delete(self, event: gr.EventData) -> Any:
        """Show the newest of those that are left."""
        if run := _run(run_care.named_by(event)):
            title = run.title
            try:
                if others := delete(run):
                    gr.Warning(
                        escape(f"{title} was deleted. Other files in {run.path} were kept: {', '.join(others)}.")
                    )
                else:
                    gr.Info(escape(f"{title} was deleted."))
            except RunIsHeld:
                gr.Warning(escape(f"The run {title} is still running. Stop it before you delete it."))
            except OSError as error:
                gr.Warning(escape(f"The run {title} was not deleted completely: {why_not(error)}."))
        return gr.update(choices=self.choices(), value=self._newest())

    def choices(self) -> list[tuple[str, str]]:
        choices = []
        for run, _ in zip(self._runs(), range(MOST_LISTED), strict=False):
            with suppress(OSError):  # deleted meanwhile
                choices.append((run_view.run_choice(run), run.name))
        return choices

    def _newest(self) -> str | None:
        newest = next(self._runs(), None)
        return newest.name if newest else None

    def _runs(self) -> Iterator[RunFolder]:
        return (run for run in all_runs() if (_job_of(run) in UTILITIES) == self._of_utilities)


@lru_cache(maxsize=4096)
def _job_of(run: RunFolder) -> str:
    """It never changes; there may be thousands of runs."""
    return run.job


def _seen(seen: str | None, count: int) -> list[Any]:
    """The state that a page says it shows; it comes back from the browser, so it may be anything."""
    try:
        state = json.loads(seen or "null")
    except ValueError:
        state = None
    return state if isinstance(state, list) and len(state) == count else [None] * count


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
