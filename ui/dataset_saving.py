"""Captions changed in the Dataset tab: how many are unsaved, and the buttons that save and undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from engine.failure import Failure
from engine.tools.caption_drafts import Drafts, told_of
from engine.tools.folder_work import counted
from ui.dataset_editor import CaptionEditor, index_of
from ui.dataset_state import Hand, Updates
from ui.form import SILENT
from ui.sentences import NOTHING, Sentences, refused, said


class CaptionSaving:
    """Draws itself within gr.Blocks."""

    def draw(self) -> None:
        with gr.Row(elem_classes="dataset-drafts"):
            self.drafts = gr.HTML(elem_id="dataset-drafts", elem_classes="said")
            self.save = gr.Button(
                "Save captions", variant="primary", visible=False, elem_id="dataset-save", min_width=120
            )
            self.undo = gr.Button("Undo", visible=False, elem_id="dataset-undo", min_width=80)
            self.discard = gr.Button("Discard all", visible=False, elem_id="dataset-discard", min_width=100)

    @property
    def outputs(self) -> list[Any]:
        return [self.drafts, self.save, self.undo, self.discard]

    def drawn(self, hand: Hand) -> Updates:
        """What depends on the unsaved captions."""
        waits, earlier = bool(hand.drafts.texts), bool(hand.drafts.earlier)
        return {
            self.drafts: _unsaved(hand),
            self.save: gr.update(visible=waits),
            self.discard: gr.update(visible=waits),
            self.undo: gr.update(visible=earlier or bool(hand.saves), value="Undo" if earlier else "Undo Save"),
        }

    def connect(
        self,
        hand: gr.State,
        number: gr.Number,
        sentence: gr.HTML,
        editor: CaptionEditor,
        outputs: list[Any],
        paged: Callable[..., Iterator[Updates]],
        surveyed: Callable[[Hand], Updates],
    ) -> None:
        """outputs: the components to fill.

        paged: (hand, page, chosen) → the updates of a page of pictures; surveyed: those that depend on the survey.
        """

        def save(hand: Hand, number: float, shown: dict[str, Any] | None, caption: str) -> Iterator[Updates]:
            """Write what was changed, including what is in the editor."""
            hand = editor.taken(hand, shown, caption)
            yield {sentence: said(f"Saving {counted(len(hand.drafts.texts), 'caption')} …")}
            try:
                hand, saved = hand.saved()
                report = said(*saved.report())
            except (Failure, OSError) as error:
                yield {sentence: _unreadable(error)}
                return
            yield from drawn(hand, number, shown, {**surveyed(hand), sentence: report})

        def undo(hand: Hand, number: float, shown: dict[str, Any] | None, caption: str) -> Iterator[Updates]:
            """Undo the last change, which may be in the editor; without a change since the last Save, undo that."""
            hand, fresh = editor.taken(hand, shown, caption), {}
            if hand.drafts.earlier or not hand.saves:
                hand = replace(hand, drafts=hand.drafts.undone())
            else:
                try:
                    hand, count, left = hand.unsaved()
                except (Failure, OSError) as error:
                    yield {sentence: _unreadable(error)}
                    return
                words = f"Restored {counted(count, 'caption')} on disk."
                told = said(f"{words} Your changes are unsaved again.", told_of(left))
                fresh = {**surveyed(hand), sentence: told}
            yield from drawn(hand, number, shown, fresh)

        def discard(hand: Hand, number: float, shown: dict[str, Any] | None) -> Iterator[Updates]:
            """Reset all captions to their files; Undo brings the changes back."""
            drafts = hand.drafts
            hand = replace(hand, drafts=Drafts({}, (*drafts.earlier, drafts.texts)))
            yield from drawn(hand, number, shown, {})

        def drawn(hand: Hand, number: float, shown: dict[str, Any] | None, fresh: Updates) -> Iterator[Updates]:
            fresh = {**editor.opened(hand, index_of(shown)), **fresh}
            for updates in paged(hand, int(number or 1), index_of(shown)):
                yield {**updates, **fresh}
                fresh = {}

        self.save.click(save, [hand, number, editor.shown, editor.caption], outputs, **SILENT)
        self.undo.click(undo, [hand, number, editor.shown, editor.caption], outputs, **SILENT)
        self.discard.click(discard, [hand, number, editor.shown], outputs, **SILENT)


def _unreadable(error: Exception) -> Sentences:
    return refused("Warning:", f"the folder can no longer be read: {error}")


def _unsaved(hand: Hand) -> Sentences:
    count = len(hand.drafts.texts)
    if not count:
        return NOTHING
    sentence = f"{count} caption{'s have' if count > 1 else ' has'} unsaved changes."
    return Sentences(f'<div data-unsaved="{count}">{said(sentence)}</div>')
