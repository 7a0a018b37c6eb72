"""Changing the captions of all pictures that were found, with a preview first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from engine.data import caption_edits
from engine.data.caption_edits import Edit
from ui import dataset_view as view
from ui.dataset_state import Hand, Updates
from ui.form import SILENT
from ui.sentences import NOTHING, refused, said

TOO_LONG = "The regular expression takes too long to run. Use a simpler one, without nested repetitions."


class BulkCaptions:
    """Draws itself within gr.Blocks."""

    def draw(self) -> None:
        with gr.Accordion("Change the captions of all pictures shown", open=False, elem_id="dataset-bulk"):
            with gr.Row():
                self.kind = gr.Dropdown(
                    list(caption_edits.KINDS), label="Change", elem_id="dataset-change", min_width=180
                )
                self.text = gr.Textbox(
                    label="Text", placeholder="tags, separated by commas", elem_id="dataset-text", min_width=180
                )
                self.replacement = gr.Textbox(
                    label="Replacement", visible=False, elem_id="dataset-replacement", min_width=180
                )
                self.keep = gr.Number(
                    0, label="Tags to keep at the front", precision=0, minimum=0, visible=False,
                    elem_id="dataset-keep", min_width=150,
                )  # fmt: skip
            with gr.Row(elem_classes="actions"):
                self.look = gr.Button("Preview", elem_id="dataset-preview-button", min_width=90)
                self.apply = gr.Button("Change captions", elem_id="dataset-apply", min_width=110)
            self.preview = gr.HTML(elem_id="dataset-preview", padding=False)

    def connect(
        self, hand: gr.State, number: gr.Number, sentence: gr.HTML, outputs: list[Any], drawn: Callable[..., Updates]
    ) -> None:
        """outputs: the components to fill.  drawn: (hand, page) → the updates of a page of pictures."""
        given = [hand, number, self.kind, self.text, self.replacement, self.keep]

        def edit_of(hand: Hand, kind: str, text: str, replacement: str, keep: float | None) -> Edit:
            separator = hand.source[0].captions.caption_separator
            return Edit(kind, text or "", replacement or "", max(0, int(keep or 0)), separator)

        def preview(hand: Hand, _: float, *fields: Any) -> Any:
            edit = edit_of(hand, *fields)
            if why := edit.problem():
                return refused("Not shown.", why)
            try:
                return view.preview(hand.changes(edit), len(hand.found))
            except TimeoutError:
                return refused("Not shown.", TOO_LONG)

        def apply(hand: Hand, number: float, *fields: Any) -> Updates:
            edit = edit_of(hand, *fields)
            if why := edit.problem():
                return {sentence: NOTHING, self.preview: refused("Nothing changed.", why)}
            try:
                changes = hand.changes(edit)
            except TimeoutError:
                return {sentence: NOTHING, self.preview: refused("Nothing changed.", TOO_LONG)}
            hand = hand.with_captions({one.file: after for one, _, after in changes if one.file})
            words = (
                f"Changed {len(changes)} caption{'s' if len(changes) != 1 else ''}. Save captions writes them to disk."
            )
            told = words if changes else "No caption would change."
            return {**drawn(hand, int(number or 1)), sentence: NOTHING, self.preview: said(told)}

        self.look.click(preview, given, [self.preview], **SILENT)
        self.apply.click(apply, given, [*outputs, self.preview], **SILENT)
        self.kind.input(_fields, [self.kind], [self.text, self.replacement, self.keep, self.preview], **SILENT)


def _fields(kind: str) -> list[Any]:
    """Show only the fields that the change needs."""
    finds = kind in caption_edits.HAVE_REPLACEMENT
    hint = "text to find" if finds else "tags, separated by commas"
    return [
        gr.update(visible=kind in caption_edits.NEED_TEXT, placeholder=hint),
        gr.update(visible=finds),
        gr.update(visible=kind == caption_edits.SORT),
        "",
    ]
