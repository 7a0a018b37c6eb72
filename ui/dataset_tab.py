"""Dataset: what a run will learn from, and what can be mended in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from engine.data import sifting
from engine.data.sifting import Sieve
from engine.data.training_set import described_by
from engine.disk import why_not
from engine.failure import Failure
from engine.jobs import UTILITIES
from engine.runs.report import shown_name
from engine.settings.paths import typed_path, why_unusable, with_whole_paths
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from engine.tools.caption_drafts import Drafts, told_of
from engine.tools.captioning import counted
from ui import dataset_view as view
from ui.clicks import clicks_on
from ui.dataset_bulk import BulkCaptions
from ui.dataset_editor import CaptionEditor
from ui.dataset_state import Hand
from ui.form import SILENT, Form
from ui.runs_panel import RunsPanel
from ui.sentences import NOTHING, Sentences, refused, said
from ui.utility_form import UtilityForm

DATASET = "Dataset"
"""The tab, and what begins that of the utilities which stand in it."""

DRAW_EVERY = 0.7
"""Seconds between two drawings of a page whose thumbnails are being made."""

Updates = dict[Any, Any]
"""What becomes of components; those that are not in it stay as they are."""


class DatasetTab:
    """Draws itself within gr.Blocks.  form: says what the run would learn from, and how it would read it."""

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form = form
        names = [name for name, job in UTILITIES.items() if job.tab.startswith(f"{DATASET}/")]
        self._utilities = {name: UtilityForm(name) for name in names}
        self._utility_tabs: dict[str, gr.Tab] = {}
        self._editor = CaptionEditor()
        self._bulk = BulkCaptions()

    @property
    def forms(self) -> list[UtilityForm]:
        return list(self._utilities.values())

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def draw(self) -> None:
        self.hand = gr.State(Hand())
        with gr.Row(elem_classes="dataset-source"):
            self.folder = gr.Textbox(
                label="Image folder", placeholder="empty: what Folders says", elem_id="dataset-folder", scale=4
            )
            self.show = gr.Button("Show", elem_id="dataset-show", min_width=80)
        self.said = gr.HTML(elem_id="dataset-said", elem_classes="said")
        with gr.Tabs(elem_id="dataset"):
            with gr.Tab("Overview", id="dataset-overview"):
                self.overview = gr.HTML(view.nothing_yet(), elem_id="dataset-overview", padding=False)
            with gr.Tab("Pictures", id="dataset-pictures") as self._pictures_tab:
                self._draw_pictures()
            with gr.Tab("Buckets", id="dataset-buckets"):
                self.buckets = gr.HTML(elem_id="dataset-buckets", padding=False)
            for name, utility in self._utilities.items():
                with gr.Tab(UTILITIES[name].tab.partition("/")[2], id=name) as self._utility_tabs[name]:
                    utility.draw()

    def _draw_pictures(self) -> None:
        with gr.Row(elem_classes="dataset-filters"):
            self.kind = gr.Dropdown(list(sifting.KINDS), label="Show", elem_id="dataset-kind", scale=2, min_width=200)
            self.concept = gr.Dropdown(
                [("All", -1)], value=-1, label="Concept", elem_id="dataset-concept", min_width=130
            )
            self.says = gr.Textbox(label="Caption contains", elem_id="dataset-says", min_width=150)
            self.whole_tag = gr.Checkbox(label="As a whole tag", elem_id="dataset-whole-tag", min_width=130)
            self.sharpness = gr.Number(
                sifting.BLURRED,
                label="Blurred below",
                info="Variance of the Laplacian.",
                minimum=0,
                visible=False,
                elem_id="dataset-sharpness",
                min_width=130,
            )
        with gr.Row(elem_classes="dataset-drafts"):
            self.drafts = gr.HTML(elem_id="dataset-drafts", elem_classes="said")
            self.save = gr.Button(
                "Save captions", variant="primary", visible=False, elem_id="dataset-save", min_width=120
            )
            self.undo = gr.Button("Undo", visible=False, elem_id="dataset-undo", min_width=80)
            self.discard = gr.Button("Discard all", visible=False, elem_id="dataset-discard", min_width=100)
        self._bulk.draw()
        self._editor.draw()
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.grid = gr.HTML(elem_id="dataset-grid", js_on_load=clicks_on("picture"), padding=False)
                with gr.Row(elem_classes="actions dataset-pager"):
                    self.previous = gr.Button("Previous page", elem_id="dataset-previous", min_width=110)
                    self.number = gr.Number(1, label="Page", precision=0, elem_id="dataset-page", min_width=130)
                    self.next = gr.Button("Next page", elem_id="dataset-next", min_width=110)
            with gr.Column(scale=1, min_width=170):
                self.tags = gr.HTML(elem_id="dataset-tags", js_on_load=clicks_on("tag"), padding=False)

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    def connect(self, tab: gr.Tab, filled: list[Any], panel: RunsPanel) -> None:
        """tab: the one it is drawn in.  filled: inputs that say what the form holds.  panel: where runs are watched."""
        page = [self.hand, self.said, self.grid, self.number, self.tags, self.kind, self.drafts]
        page += [self.save, self.undo, self.discard]
        editor = [*page, *self._editor.outputs]
        everything = [*editor, self.overview, self.buckets, self.concept, self.sharpness, self.says, self.whole_tag]

        source = [self.hand, self._editor.shown, self._editor.caption, self.folder, *filled]
        first = tab.select(self._first, source, everything, **SILENT)
        # What is asked for by name counts, not what the tab would begin with.
        shown = gr.on([self.show.click, self.folder.submit], self._show, source, everything, cancels=[first], **SILENT)
        # Of fields in a tab that was never open, Gradio may lose what they were told.
        self._pictures_tab.select(self._shown_again, [self.hand, self.number, self._editor.shown], page, **SILENT)
        for name, utility in self._utilities.items():
            utility.connect(panel)
            events = [self._utility_tabs[name].select, shown.then]
            offer = UTILITIES[name].settings_class().for_pictures
            utility.connect_offers(events, partial(offered, offer), self.hand)

        sieve = [self.hand, self.kind, self.concept, self.says, self.whole_tag, self.sharpness]
        filters = [self.kind.input, self.concept.input, self.says.submit, self.whole_tag.input, self.sharpness.submit]
        looking = gr.on(filters, self._look_first, [self.hand, self.kind], [self.said], **SILENT)
        looking.then(self._sift, sieve, everything, **SILENT)
        self.tags.click(self._sift_by_tag, sieve, everything, **SILENT)

        turning = [self.hand, self.number, self._editor.shown]
        self.previous.click(partial(self._turn, -1), turning, page, **SILENT)
        self.next.click(partial(self._turn, 1), turning, page, **SILENT)
        self.number.submit(partial(self._turn, 0), turning, page, **SILENT)

        self._editor.connect(self.hand, self.grid, self.said, editor, self._drawn)
        self._bulk.connect(self.hand, self.number, self.said, page, self._drawn)
        typed = [self.hand, self.number, self._editor.shown, self._editor.caption]
        self.save.click(self._save, typed, everything, **SILENT)
        self.undo.click(self._undo, typed, everything, **SILENT)
        self.discard.click(self._discard, [self.hand, self.number, self._editor.shown], editor, **SILENT)

    def _first(
        self, hand: Hand, shown: dict[str, Any] | None, caption: str, folder: str, base: TrainingSettings, *values: Any
    ) -> Iterator[Any]:
        """When the tab is opened: what the form says, unless something is shown or nothing is said."""
        settings = self._form.readable(values, base)
        says_something = folder.strip() or str(settings.values()[described_by(settings)]).strip()
        if says_something and not hand.survey.seen:
            yield from self._show(hand, shown, caption, folder, base, *values)
        else:
            yield gr.skip()

    def _shown_again(self, hand: Hand, number: float | None, shown: dict[str, Any] | None) -> Updates:
        """All but what is in hand, which may be changed meanwhile."""
        return {
            part: value
            for part, value in self._drawn(hand, int(number or 1), _index(shown)).items()
            if part is not self.hand
        }

    def _show(
        self, hand: Hand, shown: dict[str, Any] | None, caption: str, folder: str, base: TrainingSettings, *values: Any
    ) -> Iterator[Updates]:
        hand = self._editor.taken(hand, shown, caption)
        try:
            settings = with_whole_paths(self._form.settings(values, base))
            hand = hand.surveyed(settings, _whole(folder))
        except BadValues as error:
            yield {self.said: refused("Not shown.", error)}
        except Failure as failure:
            yield {self.said: refused("Not shown.", f"{failure.what} {failure.mend}")}
        except (OSError, ValueError) as error:
            yield {self.said: refused("Not shown.", f"The folder cannot be read: {why_not(error)}.")}
        else:
            hand = hand.sifted(Sieve())
            concepts = dict.fromkeys(concept.folder for concept in hand.survey.concepts)
            choices = [(shown_name(Path(folder.name)), number) for number, folder in enumerate(concepts)]
            fresh = {
                **self._surveyed(hand),
                self.said: NOTHING,
                self.concept: gr.update(choices=[("All", -1), *choices], value=-1),
                self.says: "",
                self.whole_tag: False,
                self.sharpness: gr.update(visible=False),
                **self._editor.closed(),
            }
            for updates in self._page(hand, 1):
                yield {**updates, **fresh}
                fresh = {}

    def _surveyed(self, hand: Hand) -> Updates:
        return {self.overview: view.overview(hand.survey), self.buckets: view.buckets(hand.survey)}

    def _look_first(self, hand: Hand, kind: str) -> Iterator[Updates]:
        """Look at all pictures where that is needed to find some, and tell how far it is.

        The looks are all that comes of it: captions may be changed meanwhile, which must not be taken back.
        """
        missing = hand.missing() if kind in sifting.NEED_LOOKS else []
        drawn = 0.0
        for number in hand.look_at(missing):
            if time.monotonic() - drawn > DRAW_EVERY:
                drawn = time.monotonic()
                yield {self.said: said(f"Looking at every picture once: {number} of {len(missing)} …")}
        yield {self.said: NOTHING}

    def _sift(
        self, hand: Hand, kind: str, concept: int, says: str, whole_tag: bool, sharpness: float | None
    ) -> Iterator[Updates]:
        folders = list(dict.fromkeys(one.folder for one in hand.survey.concepts))
        folder = folders[concept] if 0 <= concept < len(folders) else None
        sieve = Sieve(kind, says or "", whole_tag, folder, sharpness or 0.0)
        visible = gr.update(visible=kind == sifting.BLURRY)
        hand = hand.sifted(sieve)
        count = len(hand.found)
        sentence = said(f"{count} of {len(hand.survey.seen)} pictures.") if hand.survey.seen else NOTHING
        for updates in self._page(hand, 1):
            yield {**updates, self.said: sentence, self.sharpness: visible}

    def _sift_by_tag(self, hand: Hand, kind: str, concept: int, says: str, whole_tag: bool, sharpness: float | None,
                     click: gr.EventData) -> Iterator[Updates]:  # fmt: skip
        """Only pictures with the tag that was clicked; clicked again, the others too."""
        tag = str(click.option)
        tag = "" if whole_tag and says.casefold() == tag.casefold() else tag
        for updates in self._sift(hand, kind, concept, tag, bool(tag), sharpness):
            yield {**updates, self.says: tag, self.whole_tag: bool(tag)}

    def _turn(self, by: int, hand: Hand, number: float | None, shown: dict[str, Any] | None) -> Iterator[Updates]:
        yield from self._page(hand, int(number or 1) + by, _index(shown))

    def _save(self, hand: Hand, number: float, shown: dict[str, Any] | None, caption: str) -> Iterator[Updates]:
        """Write what was changed, what stands in the editor among it."""
        hand = self._editor.taken(hand, shown, caption)
        yield {self.said: said(f"Saving {counted(len(hand.drafts.texts), 'caption')} …")}
        try:
            hand, saved = hand.saved()
            sentences = said(*saved.report())
        except (Failure, OSError) as error:
            yield {self.said: refused("Look out.", f"The folder cannot be read any more: {error}")}
            return
        fresh = {**self._surveyed(hand), self.said: sentences, **self._editor.opened(hand, _index(shown))}
        for updates in self._page(hand, int(number or 1), _index(shown)):
            yield {**updates, **fresh}
            fresh = {}

    def _undo(self, hand: Hand, number: float, shown: dict[str, Any] | None, caption: str) -> Updates:
        """What stands in the editor is the last change; where nothing was changed since the last Save, that is."""
        hand, fresh = self._editor.taken(hand, shown, caption), {}
        if hand.drafts.earlier or not hand.saves:
            hand = replace(hand, drafts=hand.drafts.undone())
        else:
            try:
                hand, count, left = hand.unsaved()
            except (Failure, OSError) as error:
                return {self.said: refused("Look out.", f"The folder cannot be read any more: {error}")}
            words = f"Put {counted(count, 'caption')} back as before the Save. What was saved is not saved any more."
            fresh = {**self._surveyed(hand), self.said: said(words, told_of(left))}
        drawn = self._drawn(hand, int(number or 1), _index(shown))
        return {**drawn, **self._editor.opened(hand, _index(shown)), **fresh}

    def _discard(self, hand: Hand, number: float, shown: dict[str, Any] | None) -> Updates:
        """All captions as their files have them; Undo brings the changes back."""
        drafts = hand.drafts
        hand = replace(hand, drafts=Drafts({}, (*drafts.earlier, drafts.texts)))
        return {**self._drawn(hand, int(number or 1), _index(shown)), **self._editor.opened(hand, _index(shown))}

    # ── a page of pictures ────────────────────────────────────────────────────────────────────────

    def _page(self, hand: Hand, number: int, chosen: int = -1) -> Iterator[Updates]:
        """Draw a page of pictures, and its thumbnails again and again while they are being made.

        Only the first time says what is in hand: captions may be changed meanwhile.
        """
        yield self._drawn(hand, number, chosen)
        missing = hand.missing(hand.page(number))
        drawn = time.monotonic()
        for known in hand.look_at(missing):
            if time.monotonic() - drawn > DRAW_EVERY or known == len(missing):
                drawn = time.monotonic()
                yield {self.grid: self._grid(hand, number, chosen)}

    def _grid(self, hand: Hand, number: int, chosen: int) -> str:
        return view.grid(hand.survey, hand.page(number), hand.looks, hand.drafts.texts, chosen)

    def _drawn(self, hand: Hand, number: int, chosen: int = -1) -> Updates:
        """All that follows what is in hand."""
        survey, texts, sieve = hand.survey, hand.drafts.texts, hand.sieve
        counts = sifting.counts(survey, texts, hand.looks, sieve.sharpness) if survey.seen else {}
        kinds = [(f"{kind} ({counts[kind]})" if kind in counts else kind, kind) for kind in sifting.KINDS]
        number = hand.nearest(number)
        return {
            self.hand: hand,
            self.grid: self._grid(hand, number, chosen),
            self.number: gr.update(value=number, label=f"Page (of {hand.pages})"),
            self.tags: view.tags(sifting.tag_counts(survey, hand.found, texts), sieve.says if sieve.whole_tag else ""),
            self.kind: gr.update(choices=kinds, value=sieve.kind),
            self.drafts: _unsaved(hand),
            self.save: gr.update(visible=bool(texts)),
            self.discard: gr.update(visible=bool(texts)),
            self.undo: gr.update(
                visible=bool(hand.drafts.earlier or hand.saves), value="Undo" if hand.drafts.earlier else "Undo Save"
            ),
        }


def _whole(folder: str) -> str:
    """A folder's path as somebody typed it, from the root of the disk on; nothing where nothing was typed."""
    if not folder.strip():
        return ""
    if why := why_unusable(folder):
        raise Failure(f"The path {why}.", "Correct it.")
    return str(typed_path(folder).absolute())


def offered(offer: Callable[[Path, str], dict[str, str]], hand: Hand) -> dict[str, str]:
    """What a utility begins with beside the pictures that are shown; nothing where they stand in no folder alone."""
    settings, folder = hand.source
    if not hand.survey.seen or (not folder and described_by(settings) not in ("train_data_dir", "image_folder")):
        return {}
    if folder:
        return offer(Path(folder), "")
    regularisation = settings.folders.reg_data_dir if described_by(settings) == "train_data_dir" else ""
    return offer(Path(str(settings.values()[described_by(settings)])), regularisation)


def _index(shown: dict[str, Any] | None) -> int:
    return int(shown["index"]) if shown else -1


def _unsaved(hand: Hand) -> Sentences:
    count = len(hand.drafts.texts)
    if not count:
        return NOTHING
    sentence = f"{count} caption{'s are' if count > 1 else ' is'} changed, and not saved yet."
    return Sentences(f'<div data-unsaved="{count}">{said(sentence)}</div>')
