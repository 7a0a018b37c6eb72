"""One picture of the Dataset page with its caption, and the keys that go to the next one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from engine.data.sifting import text_of
from engine.runs.report import shown_name
from engine.tools import manual
from ui.dataset_state import Hand, Updates
from ui.form import SILENT
from ui.sentences import Sentences, refused, said

LEAD_TO_EDITOR = "() => darkroom.editCaption()"


class CaptionEditor:
    """Draws itself within gr.Blocks.

    As in captioning by hand, the browser sends with a caption which picture it belongs to.  Nothing is written:
    changes wait for Save captions.
    """

    def draw(self) -> None:
        self.shown = gr.JSON(None, visible=False)
        with gr.Row(visible=False, elem_id="dataset-editor", elem_classes="dataset-editor") as self.box:
            self.image = gr.Image(
                show_label=False, interactive=False, height=300, buttons=[], format="jpeg", min_width=200,
                elem_id="dataset-picture",
            )  # fmt: skip
            with gr.Column(min_width=260):
                self.name = gr.HTML(elem_id="dataset-name", elem_classes="said", padding=False)
                self.caption = gr.Textbox(
                    label="Caption",
                    info="Page Down: next. Page Up: previous. Ctrl+Enter: next without a caption. Ctrl+S: save.",
                    lines=4,
                    max_lines=10,
                    elem_id="dataset-caption",
                )
                with gr.Row(elem_classes="actions"):
                    self.before = gr.Button("Previous", elem_id="dataset-before", min_width=80)
                    self.after = gr.Button("Next", elem_id="dataset-after", min_width=80)
                    self.lacking = gr.Button("Next without caption", elem_id="dataset-lacking", min_width=160)
                    self.close = gr.Button("Close", elem_id="dataset-close", min_width=70)

    @property
    def outputs(self) -> list[Any]:
        return [self.shown, self.box, self.image, self.name, self.caption]

    def connect(
        self, hand: gr.State, grid: gr.HTML, sentence: gr.HTML, outputs: list[Any], drawn: Callable[..., Updates]
    ) -> None:
        """outputs: the components to fill.  drawn: (hand, page, chosen) → the updates of a page of pictures."""

        def to(way: Callable[[Hand, int], int], hand: Hand, shown: dict[str, Any] | None, caption: str) -> Updates:
            if not hand.survey.seen:
                return {sentence: refused("Not done.", "The page was reloaded. Press Show.")}
            hand = self.taken(hand, shown, caption)
            index = way(hand, index_of(shown))
            list(hand.look_at(hand.missing(hand.page(hand.page_of(index)))))
            return {**drawn(hand, hand.page_of(index), index), **self.opened(hand, index)}

        given = [hand, self.shown, self.caption]
        ways: list[tuple[gr.Button, Callable[[Hand, int], int]]] = [
            (self.before, lambda hand, index: hand.beside(index, -1)),
            (self.after, lambda hand, index: hand.beside(index, 1)),
            (self.lacking, Hand.next_without_caption),
        ]
        for button, way in ways:
            button.click(partial(to, way), given, outputs, **SILENT)

        def choose(hand: Hand, shown: dict[str, Any] | None, caption: str, click: gr.EventData) -> Updates:
            index = int(click.option)
            return to(lambda hand, _: min(index, len(hand.survey.seen) - 1), hand, shown, caption)

        grid.click(choose, given, outputs, **SILENT).then(None, None, None, js=LEAD_TO_EDITOR)

        def close(hand: Hand, shown: dict[str, Any] | None, caption: str) -> Updates:
            number = hand.page_of(int(shown["index"])) if shown else 1
            return {**drawn(self.taken(hand, shown, caption), number), **self.closed()}

        self.close.click(close, given, outputs, **SILENT)

    def opened(self, hand: Hand, index: int) -> Updates:
        """Updates that show a picture; those that close the editor if there is none."""
        if not 0 <= index < len(hand.survey.seen):
            return self.closed()
        one = hand.survey.seen[index]
        text = text_of(one, hand.drafts.texts)
        shown = {"index": index, "picture": shown_name(one.picture), "caption": text}
        place = (
            f"{hand.found.index(index) + 1} of {len(hand.found)}" if index in hand.found else "not among those shown"
        )
        return {
            self.shown: shown,
            self.box: gr.update(visible=True),
            self.image: manual.Page(one.picture, text).image(),
            self.name: _told(f"{shown_name(Path(one.picture.name))} ({place})", one.problem, one.file),
            self.caption: gr.update(value=text, interactive=one.file is not None),
        }

    def closed(self) -> Updates:
        return {self.shown: None, self.box: gr.update(visible=False), self.image: None, self.caption: ""}

    def taken(self, hand: Hand, shown: dict[str, Any] | None, caption: str) -> Hand:
        """With what was typed, if it differs from what was shown and still belongs to a picture of the survey."""
        if not shown or (caption or "").strip() == shown["caption"]:
            return hand
        index = int(shown["index"])
        one = hand.survey.seen[index] if index < len(hand.survey.seen) else None
        if one is None or one.file is None or shown_name(one.picture) != shown["picture"]:
            return hand
        return hand.with_captions({one.file: (caption or "").strip()})


def index_of(shown: dict[str, Any] | None) -> int:
    """Index of the picture in the editor; -1 if it is closed."""
    return int(shown["index"]) if shown else -1


def _told(name: str, problem: str, file: Path | None) -> Sentences:
    if problem:
        return refused(name, problem)
    if file is None:
        return refused(name, "This caption comes from a metadata file, which cannot be edited here.")
    return said(name)
