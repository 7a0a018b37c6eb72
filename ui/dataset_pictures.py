"""The pictures of the Dataset tab: filtered, a page of thumbnails at a time, with their tags and captions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from engine.data import sifting
from engine.data.sifting import Sieve
from engine.runs.report import shown_name
from ui import dataset_view as view
from ui.clicks import clicks_on
from ui.dataset_bulk import BulkCaptions
from ui.dataset_editor import CaptionEditor, index_of
from ui.dataset_saving import CaptionSaving
from ui.dataset_state import Hand, Updates
from ui.form import SILENT
from ui.sentences import NOTHING, said

DRAW_EVERY = 0.7
"""Seconds between two updates of a page whose thumbnails are being made."""


class DatasetPictures:
    """Draws itself within gr.Blocks.  hand: the page's state.  sentence: where messages go."""

    def __init__(self) -> None:
        self.editor = CaptionEditor()
        self._bulk = BulkCaptions()
        self._saving = CaptionSaving()

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def draw(self, hand: gr.State, sentence: gr.HTML) -> None:
        self.hand, self.said = hand, sentence
        with gr.Row(elem_classes="dataset-filters"):
            self.kind = gr.Dropdown(list(sifting.KINDS), label="Show", elem_id="dataset-kind", scale=2, min_width=200)
            self.concept = gr.Dropdown(
                [("All", -1)], value=-1, label="Concept", elem_id="dataset-concept", min_width=130
            )
            self.says = gr.Textbox(label="Caption contains", elem_id="dataset-says", min_width=150)
            self.whole_tag = gr.Checkbox(label="Whole tags only", elem_id="dataset-whole-tag", min_width=130)
            self.order = gr.Dropdown(list(sifting.ORDERS), label="Order", elem_id="dataset-order", min_width=130)
            self.sharpness = gr.Number(
                sifting.BLURRED,
                label="Sharpness below",
                info="Variance of the Laplacian.",
                minimum=0,
                visible=False,
                elem_id="dataset-sharpness",
                min_width=130,
            )
        self._saving.draw()
        self._bulk.draw()
        self.editor.draw()
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.grid = gr.HTML(elem_id="dataset-grid", js_on_load=clicks_on("picture"), padding=False)
                with gr.Row(elem_classes="actions dataset-pager"):
                    self.previous = gr.Button("Previous page", elem_id="dataset-previous", min_width=110)
                    self.number = gr.Number(1, label="Page", precision=0, elem_id="dataset-page", min_width=130)
                    self.next = gr.Button("Next page", elem_id="dataset-next", min_width=110)
            with gr.Column(scale=1, min_width=170):
                self.tags = gr.HTML(elem_id="dataset-tags", js_on_load=clicks_on("tag"), padding=False)

    @property
    def page(self) -> list[Any]:
        """The components that depend on the state."""
        return [self.hand, self.said, self.grid, self.number, self.tags, self.kind, *self._saving.outputs]

    @property
    def outputs(self) -> list[Any]:
        """Everything that changes here."""
        filters = [self.concept, self.sharpness, self.says, self.whole_tag, self.order]
        return [*self.page, *self.editor.outputs, *filters]

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    def connect(self, tab: gr.Tab, outputs: list[Any], surveyed: Callable[[Hand], Updates]) -> None:
        """tab: the one it is drawn in.  surveyed: updates that depend on the survey, for the outputs."""
        page, editor = self.page, self.editor
        turning = [self.hand, self.number, editor.shown]
        # Gradio may lose updates to fields in a tab that was never open.
        tab.select(self._shown_again, turning, page, **SILENT)
        self.previous.click(partial(self._turn, -1), turning, page, **SILENT)
        self.next.click(partial(self._turn, 1), turning, page, **SILENT)
        self.number.submit(partial(self._turn, 0), turning, page, **SILENT)

        sieve = [self.hand, self.kind, self.concept, self.says, self.whole_tag, self.sharpness, self.order]
        chosen = [self.kind.input, self.concept.input, self.whole_tag.input, self.order.input]
        filters = [*chosen, self.says.submit, self.sharpness.submit]
        looking = gr.on(filters, self._look_first, [self.hand, self.kind], [self.said], **SILENT)
        looking.then(self._sift, sieve, self.outputs, **SILENT)
        self.tags.click(self._sift_by_tag, sieve, self.outputs, **SILENT)

        editor.connect(self.hand, self.grid, self.said, [*page, *editor.outputs], self.drawn)
        self._bulk.connect(self.hand, self.number, self.said, page, self.drawn)
        self._saving.connect(self.hand, self.number, self.said, editor, outputs, self.paged, surveyed)

    def begun(self, hand: Hand) -> Updates:
        """Filters and editor for a new survey, with nothing filtered out."""
        concepts = dict.fromkeys(concept.folder for concept in hand.survey.concepts)
        choices = [(shown_name(Path(folder.name)), number) for number, folder in enumerate(concepts)]
        return {
            self.concept: gr.update(choices=[("All", -1), *choices], value=-1),
            self.says: "",
            self.whole_tag: False,
            self.order: sifting.FOLDERS,
            self.sharpness: gr.update(visible=False),
            **self.editor.closed(),
        }

    def _shown_again(self, hand: Hand, number: float | None, shown: dict[str, Any] | None) -> Updates:
        """Everything but the state, which may have changed meanwhile."""
        drawn = self.drawn(hand, int(number or 1), index_of(shown))
        return {part: value for part, value in drawn.items() if part is not self.hand}

    def _look_first(self, hand: Hand, kind: str) -> Iterator[Updates]:
        """Look at all pictures if the filter needs that, and report progress.

        Only the looks are updated: captions may have been changed meanwhile, and must not be reverted.
        """
        missing = hand.missing() if kind in sifting.NEED_LOOKS else []
        drawn = 0.0
        for number in hand.look_at(missing):
            if time.monotonic() - drawn > DRAW_EVERY:
                drawn = time.monotonic()
                yield {self.said: said(f"Scanning all pictures: {number} of {len(missing)} …")}
        yield {self.said: NOTHING}

    def _sift(
        self, hand: Hand, kind: str, concept: int, says: str, whole_tag: bool, sharpness: float | None, order: str
    ) -> Iterator[Updates]:
        folders = list(dict.fromkeys(one.folder for one in hand.survey.concepts))
        folder = folders[concept] if 0 <= concept < len(folders) else None
        sieve = Sieve(kind, says or "", whole_tag, folder, sharpness or 0.0, order)
        visible = gr.update(visible=kind == sifting.BLURRY)
        hand = hand.sifted(sieve)
        count = len(hand.found)
        sentence = said(f"{count} of {len(hand.survey.seen)} pictures.") if hand.survey.seen else NOTHING
        for updates in self.paged(hand, 1):
            yield {**updates, self.said: sentence, self.sharpness: visible}

    def _sift_by_tag(self, hand: Hand, kind: str, concept: int, says: str, whole_tag: bool, sharpness: float | None,
                     order: str, click: gr.EventData) -> Iterator[Updates]:  # fmt: skip
        """Only pictures with the tag that was clicked; clicked again, the others too."""
        tag = str(click.option)
        tag = "" if whole_tag and says.casefold() == tag.casefold() else tag
        for updates in self._sift(hand, kind, concept, tag, bool(tag), sharpness, order):
            yield {**updates, self.says: tag, self.whole_tag: bool(tag)}

    def _turn(self, by: int, hand: Hand, number: float | None, shown: dict[str, Any] | None) -> Iterator[Updates]:
        yield from self.paged(hand, int(number or 1) + by, index_of(shown))

    # ── a page of pictures ────────────────────────────────────────────────────────────────────────

    def paged(self, hand: Hand, number: int, chosen: int = -1) -> Iterator[Updates]:
        """Draw a page of pictures, and its thumbnails repeatedly while they are being made.

        Only the first update includes the state: captions may be changed meanwhile.
        """
        yield self.drawn(hand, number, chosen)
        missing = hand.missing(hand.page(number))
        drawn = time.monotonic()
        for known in hand.look_at(missing):
            if time.monotonic() - drawn > DRAW_EVERY or known == len(missing):
                drawn = time.monotonic()
                yield {self.grid: self._grid(hand, number, chosen)}

    def _grid(self, hand: Hand, number: int, chosen: int) -> str:
        return view.grid(hand.survey, hand.page(number), hand.looks, hand.drafts.texts, chosen)

    def drawn(self, hand: Hand, number: int, chosen: int = -1) -> Updates:
        """Everything that depends on the state."""
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
            **self._saving.drawn(hand),
        }
