"""What can be done with a run that has ended, as HTML: train on what it made, call it something, delete it; and what
else it saved.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from engine.begin import CannotResume, settings_of
from engine.failure import Failure
from engine.runs.folder import LONGEST_TITLE, Status
from engine.runs.history import History
from engine.runs.listing import ENDED, run_named
from ui.run_files import earlier_files

TELLS = """element.addEventListener('submit', (event) => {
  event.preventDefault();
  trigger('rename', { run: event.target.dataset.run, title: event.target.elements.title.value });
});
element.addEventListener('click', (event) => {
  const run = event.target.closest('[data-delete]')?.dataset.delete;
  if (run) trigger('delete', { run });
  const made = event.target.closest('[data-train-on]')?.dataset.trainOn;
  if (made) trigger('train', { run: made });
});"""
"""js_on_load of the gr.HTML that shows it: each event names the run that was shown, whatever is chosen by then."""


def care(history: History, status: Status) -> str:
    if status not in ENDED:
        return ""
    return f'{_train_on(history, status)}<div class="folds">{earlier_files(history)}{_more(history)}</div>'


def named_by(event: gr.EventData) -> str | None:
    """The name of a run that an event of the page tells, which may send anything."""
    named = event._data.get("run") if isinstance(event._data, dict) else None
    return named if isinstance(named, str) else None


def made_by(event: gr.EventData) -> dict[str, str]:
    """The values that have training learn from what the run of an event made.  Raises Failure where it is gone."""
    run = run_named(named_by(event))
    try:
        values = settings_of(run).to_train_on() if run else {}
    except CannotResume as error:
        raise Failure(str(error), "") from None
    if not values:
        raise Failure("The run that made these pictures no longer exists.", "Choose the folder in the Folders tab.")
    return values


def _train_on(history: History, status: Status) -> str:
    try:
        makes_pictures = status == "done" and settings_of(history.run).to_train_on()
    except CannotResume:
        return ""
    if not makes_pictures:
        return ""
    run = escape(history.run.name)
    return f'<p class="next"><button type="button" data-train-on="{run}">Train on these pictures</button></p>'


def _more(history: History) -> str:
    run = escape(history.run.name)
    return (
        '<details class="run-more"><summary>Rename or delete this run</summary>'
        f'<form data-run="{run}"><label>Name <input name="title" maxlength="{LONGEST_TITLE}" placeholder="{run}" '
        f'value="{escape(history.run.title)}" autocomplete="off"></label><button>Rename</button></form>'
        f"<details><summary>Delete …</summary><p>{escape(_what_goes(history))}</p>"
        f'<button type="button" data-delete="{run}">Delete this run</button></details></details>'
    )


def _what_goes(history: History) -> str:
    """What deleting the run does, before it is done."""
    if history.run.job != "train":
        return "Deletes the record of this run: its settings and log. The files it wrote stay where they are."
    goes = "Deletes its settings, log, sample previews and training state, so it can never be resumed."
    if not history.checkpoints:
        return goes
    folders = dict.fromkeys(str(Path(one.file).parent) for one in history.checkpoints)
    return f"{goes} The saved models stay in {' and '.join(folders)}."
