"""Captions by hand: a picture, its caption, and the keys that lead to the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from engine.runs.report import shown_name
from engine.tools import manual
from ui.form import SILENT
from ui.sentences import Sentences, refused, said

ENDINGS = (".txt", ".caption", ".cap")


class ManualCaptioning:
    """Draws itself within gr.Blocks.

    What a caption belongs to travels with its text, from the browser: so a caption is never saved to another
    picture than the one that was shown beside it, however fast the keys are pressed.
    """

    def draw(self) -> None:
        gr.Markdown(
            "Write captions by hand. **Page Down** and **Page Up** save and lead to the next and the previous picture, "
            "**Ctrl+Enter** to the next one that has no caption."
        )
        self.folder = gr.Textbox(label="Image folder to caption", elem_id="manual-folder")
        with gr.Row():
            self.extension = gr.Dropdown(
                list(ENDINGS), value=ENDINGS[0], label="Caption file extension", allow_custom_value=True, min_width=180
            )
            self.recursive = gr.Checkbox(label="Recursive", info="Also in all folders within it.", min_width=180)
            self.load = gr.Button("Show", elem_id="manual-show", min_width=80)
        self.said = gr.HTML(elem_id="manual-said", elem_classes="said")
        self.pictures = gr.State([])
        self.shown = gr.JSON(None, visible=False)
        with gr.Column(visible=False, elem_id="manual") as self.pages:
            self.image = gr.Image(
                show_label=False, interactive=False, height=420, elem_id="manual-picture", buttons=[], format="jpeg"
            )
            self.caption = gr.Textbox(label="Caption", lines=4, max_lines=12, elem_id="manual-caption")
            with gr.Row(elem_classes="actions"):
                self.previous = gr.Button("Previous", elem_id="manual-previous", min_width=100)
                self.save = gr.Button("Save", elem_id="manual-save", min_width=80)
                self.lacking = gr.Button("Next without caption", elem_id="manual-lacking", min_width=170)
                self.next = gr.Button("Next", variant="primary", elem_id="manual-next", min_width=100)
            self.number = gr.Number(1, label="Picture", precision=0, minimum=1, elem_id="manual-number")

    def connect(self) -> None:
        page = [self.shown, self.image, self.caption, self.number, self.said]
        for event in (self.load.click, self.folder.submit):
            event(
                self._load, [self.folder, self.extension, self.recursive], [self.pictures, self.pages, *page], **SILENT
            )
        given = [self.pictures, self.shown, self.caption]
        for button, way in ((self.previous, self._before), (self.next, self._after), (self.lacking, self._lacking)):
            button.click(_moving(way), given, page, **SILENT)
        self.save.click(_moving(lambda pictures, shown: shown["place"]), given, page, **SILENT)
        self.number.submit(
            lambda number, *rest: _moving(lambda pictures, shown: int(number or 1) - 1)(*rest),
            [self.number, *given],
            page,
            **SILENT,
        )

    def _load(self, folder: str, extension: str, recursive: bool) -> list[Any]:
        try:
            pictures = manual.listed(folder, extension or "", recursive)
        except ValueError as error:
            return [[], gr.update(visible=False), None, None, "", 1, refused("Not shown.", error)]
        return [pictures, gr.update(visible=True), *_page(pictures, extension, 0, "")]

    @staticmethod
    def _before(pictures: list[str], shown: dict[str, Any]) -> int:
        return int(shown["place"]) - 1

    @staticmethod
    def _after(pictures: list[str], shown: dict[str, Any]) -> int:
        return int(shown["place"]) + 1

    @staticmethod
    def _lacking(pictures: list[str], shown: dict[str, Any]) -> int:
        return manual.next_without_caption(pictures, shown["extension"], int(shown["place"]))


def _moving(way: Any) -> Any:
    """Save the caption that is shown, then show the picture to which `way` leads; stay where it cannot be saved."""

    def move(pictures: list[str], shown: dict[str, Any] | None, caption: str | None) -> list[Any]:
        if not shown or shown["picture"] not in pictures:  # the page was loaded anew
            return [gr.skip()] * 4 + [refused("Not saved.", "Press Show again.")]
        page = manual.Page(Path(shown["picture"]), shown["caption"])
        try:
            sentence = manual.save(page, shown["extension"], caption or "")
        except ValueError as error:
            return [gr.skip()] * 4 + [refused("Not saved.", error)]
        place = min(max(way(pictures, shown), 0), len(pictures) - 1)
        return _page(pictures, shown["extension"], place, sentence)

    return move


def _page(pictures: list[str], extension: str, place: int, sentence: str) -> list[Any]:
    page = manual.read_page(pictures[place], extension)
    shown = {"picture": pictures[place], "caption": page.caption, "place": place, "extension": extension}
    label = f"Picture {place + 1} of {len(pictures)}: {shown_name(Path(page.picture.name))}"
    number = gr.update(value=place + 1, maximum=len(pictures), label=label)
    return [shown, page.image(), page.caption, number, _told(sentence, page)]


def _told(sentence: str, page: manual.Page) -> Sentences:
    if page.problem:
        return refused("Look out.", page.problem)
    return said(sentence) if sentence else said("")
