"""Dataset: what a run will learn from, and ways to improve it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from engine.data.sifting import Sieve
from engine.data.training_set import described_by
from engine.disk import why_not
from engine.failure import Failure
from engine.jobs import UTILITIES
from engine.settings.paths import mend_unusable, typed_path, why_unusable, with_whole_paths
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from ui import dataset_drop
from ui import dataset_view as view
from ui.dataset_pictures import DatasetPictures
from ui.dataset_state import Hand, Updates
from ui.form import SILENT, Form, Told
from ui.runs_panel import RunsPanel
from ui.sentences import NOTHING, Sentences, refused, said
from ui.utility_form import UtilityForm

DATASET = "Dataset"
"""The tab, and the prefix of the utilities' tabs inside it."""


class DatasetTab:
    """Draws itself within gr.Blocks.  form: the training form, which says what the run would learn from, and how."""

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form = form
        names = [name for name, job in UTILITIES.items() if job.tab.startswith(f"{DATASET}/")]
        self._utilities = {name: UtilityForm(name) for name in names}
        self._utility_tabs: dict[str, gr.Tab] = {}
        self._pictures = DatasetPictures()

    @property
    def forms(self) -> list[UtilityForm]:
        return list(self._utilities.values())

    def draw(self) -> None:
        self.hand = gr.State(Hand())
        with gr.Row(elem_classes="dataset-source"):
            self.folder = gr.Textbox(
                label="Image folder",
                placeholder="leave empty to use the folders from the Folders tab",
                elem_id="dataset-folder",
                elem_classes="picks-folder",
                scale=4,
            )
            self.show = gr.Button("Show", elem_id="dataset-show", min_width=80)
            self.train = gr.Button("Train on these pictures", elem_id="dataset-train", min_width=180)
        self.drop = dataset_drop.drop_zone()
        self.said = gr.HTML(elem_id="dataset-said", elem_classes="said")
        with gr.Tabs(elem_id="dataset"):
            with gr.Tab("Overview", id="dataset-overview"):
                self.overview = gr.HTML(view.nothing_yet(), elem_id="dataset-overview", padding=False)
            with gr.Tab("Pictures", id="dataset-pictures") as self._pictures_tab:
                self._pictures.draw(self.hand, self.said)
            with gr.Tab("Buckets", id="dataset-buckets"):
                self.buckets = gr.HTML(elem_id="dataset-buckets", padding=False)
            for name, utility in self._utilities.items():
                with gr.Tab(UTILITIES[name].tab.partition("/")[2], id=name) as self._utility_tabs[name]:
                    utility.draw()

    def connect(self, tab: gr.Tab, panel: RunsPanel, train_on: Callable[..., Any]) -> None:
        """tab: the one it is drawn in.  panel: where runs are watched.

        train_on: has an event fill the training form with values that a function makes of it and of some components.
        """
        train_on(self.train.click, _to_train_on, [self.folder])
        everything = [*self._pictures.outputs, self.overview, self.buckets]
        editor = self._pictures.editor
        source = [self.hand, editor.shown, editor.caption, self.folder, self._form.shown]
        first = tab.select(self._first, source, everything, **SILENT)
        # An explicit request wins over what the tab would show at first.
        asked = [self.show.click, self.folder.submit, self.drop.upload]
        shown = gr.on(asked, self._asked, source, [*everything, self.folder], cancels=[first], **SILENT)
        self._pictures.connect(self._pictures_tab, everything, self._surveyed)
        for name, utility in self._utilities.items():
            utility.connect(panel)
            events = [self._utility_tabs[name].select, shown.then]
            offer = UTILITIES[name].settings_class().for_pictures
            utility.connect_offers(events, partial(offered, offer), self.hand)

    def _first(self, hand: Hand, shown: dict[str, Any] | None, caption: str, folder: str, told: Told) -> Iterator[Any]:
        """When the tab is opened: show the form's folder, unless something is shown or the form names none."""
        settings = self._form.readable(told)
        says_something = folder.strip() or str(settings.values()[described_by(settings)]).strip()
        if says_something and not hand.survey.seen:
            yield from self._show(hand, shown, caption, folder, told)
        else:
            yield gr.skip()

    def _show(
        self, hand: Hand, shown: dict[str, Any] | None, caption: str, folder: str, told: Told
    ) -> Iterator[Updates]:
        hand = self._pictures.editor.taken(hand, shown, caption)
        try:
            settings = with_whole_paths(self._form.settings(told))
            hand = hand.surveyed(settings, _whole(folder))
        except BadValues as error:
            yield {self.said: refused("Not shown.", error)}
        except Failure as failure:
            yield {self.said: refused("Not shown.", f"{failure.what} {failure.mend}")}
        except (OSError, ValueError) as error:
            yield {self.said: refused("Not shown.", f"The folder cannot be read: {why_not(error)}.")}
        else:
            hand = hand.sifted(Sieve())
            fresh = {**self._surveyed(hand), self.said: NOTHING, **self._pictures.begun(hand)}
            for updates in self._pictures.paged(hand, 1):
                yield {**updates, **fresh}
                fresh = {}

    def _asked(
        self, event: gr.EventData, hand: Hand, shown: dict[str, Any] | None, caption: str, folder: str, form: Told
    ) -> Iterator[Updates]:
        """Show a folder; a dropped one is first copied to a folder of its own."""
        told = NOTHING
        if event.target is self.drop:
            yield {self.said: said("Copying the pictures into a folder …")}
            try:
                dropped = dataset_drop.kept(event)
            except Failure as failure:
                yield {self.said: refused("Not added.", f"{failure.what} {failure.mend}")}
                return
            told, folder = said(*dropped.report()), str(dropped.folder)
            yield {self.folder: folder}
        for updates in self._show(hand, shown, caption, folder, form):
            if self.said in updates:
                updates = {**updates, self.said: Sentences(told + updates[self.said])}
            yield updates

    def _surveyed(self, hand: Hand) -> Updates:
        return {self.overview: view.overview(hand.survey), self.buckets: view.buckets(hand.survey)}


def _whole(folder: str) -> str:
    """A typed folder as an absolute path; empty if nothing was typed."""
    if not folder.strip():
        return ""
    if why := why_unusable(folder):
        raise Failure(f"The folder {why}.", mend_unusable(folder))
    return str(typed_path(folder).absolute())


def _to_train_on(event: gr.EventData, folder: str) -> dict[str, str]:
    """Raises Failure."""
    if not folder.strip():
        raise Failure("No folder is entered here.", "Enter, choose or drop one.")
    return {"train_data_dir": _whole(folder)}


def offered(offer: Callable[[Path, str], dict[str, str]], hand: Hand) -> dict[str, str]:
    """A utility's initial values for the pictures shown; empty if they do not come from one folder."""
    settings, folder = hand.source
    if not hand.survey.seen or (not folder and described_by(settings) != "train_data_dir"):
        return {}
    if folder:
        return offer(Path(folder), "")
    regularisation = settings.folders.reg_data_dir if described_by(settings) == "train_data_dir" else ""
    return offer(Path(str(settings.values()[described_by(settings)])), regularisation)
