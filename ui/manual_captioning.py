"""Captions by hand: a picture, its caption, keys to go to the next one, and the pictures around it.

A captioner's captions are shown here too when its run has ended, for review.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from engine.begin import CannotResume, settings_of
from engine.runs.listing import run_named
from engine.runs.report import shown_name
from engine.tools import manual
from engine.tools.captioning import CaptionerSettings
from ui.caption_grid import grid
from ui.clicks import clicks_on
from ui.form import SILENT
from ui.sentences import Sentences, refused, said

FOLDER_OPTIONS = ("train_data_dir", "caption_extension", "recursive")

ENDINGS = (".txt", ".caption", ".cap")


class ManualCaptioning:
    """Draws itself within gr.Blocks: draw() the choice of a folder, draw_pages() the pictures below all captioners.

    The browser sends with a caption which picture it belongs to: so a caption is never saved to a picture other
    than the one it was shown with, however fast the keys are pressed.
    """

    def draw(self) -> None:
        gr.Markdown(
            "Write captions by hand. **Page Down** and **Page Up** save and go to the next or previous picture, "
            "**Ctrl+Enter** to the next one without a caption."
        )
        self.folder = gr.Textbox(label="Image folder to caption", elem_id="manual-folder", elem_classes="picks-folder")
        with gr.Row():
            self.extension = gr.Dropdown(
                list(ENDINGS), value=ENDINGS[0], label="Caption file extension", allow_custom_value=True, min_width=180
            )
            self.recursive = gr.Checkbox(label="Recursive", info="Include all sub-folders.", min_width=180)
            self.load = gr.Button("Show", elem_id="manual-show", min_width=80)

    def draw_pages(self) -> None:
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
            self.grid = gr.HTML(elem_id="manual-grid", js_on_load=clicks_on("picture"), padding=False)

    def connect(self, ended: gr.Textbox) -> None:
        """ended: the run that is shown, once it has ended; see RunsPanel."""
        page = [self.shown, self.image, self.caption, self.number, self.said, self.grid]
        for event in (self.load.click, self.folder.submit):
            event(
                self._load, [self.folder, self.extension, self.recursive], [self.pictures, self.pages, *page], **SILENT
            )
        given = [self.pictures, self.shown, self.caption]
        for button, way in ((self.previous, self._before), (self.next, self._after), (self.lacking, self._lacking)):
            button.click(_moving(way), given, page, **SILENT)
        self.save.click(_moving(lambda pictures, shown: shown["place"]), given, page, **SILENT)
        chooser = [self.folder, self.extension, self.recursive]
        ended.change(self._of_run, [ended, *given], [*chooser, self.pictures, self.pages, *page], **SILENT)

        def choose(pictures: list[str], shown: dict[str, Any] | None, caption: str, click: gr.EventData) -> list[Any]:
            return _moving(lambda *_: int(click.option))(pictures, shown, caption)

        self.grid.click(choose, given, page, **SILENT)
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
            return [[], gr.update(visible=False), None, None, "", 1, refused("Not shown.", error), ""]
        return [pictures, gr.update(visible=True), *_page(pictures, extension, 0, "")]

    def _of_run(self, ended: str, pictures: list[str], shown: dict[str, Any] | None, caption: str) -> list[Any]:
        """Show the folder that a captioner has processed; what is in the editor is saved first."""
        unchanged = [gr.skip() for _ in range(11)]
        settings = _captioner_settings(ended)
        if settings is None:
            return unchanged
        folder, ending, recursive = (settings.values()[name] for name in FOLDER_OPTIONS)
        try:
            if shown and shown["picture"] in pictures:
                manual.save(manual.Page(Path(shown["picture"]), shown["caption"]), shown["extension"], caption or "")
            found = manual.listed(folder, ending, recursive)
        except ValueError:
            return unchanged  # nothing is lost: what was shown stays, and its own buttons report the problem
        place = found.index(shown["picture"]) if shown and shown["picture"] in found else 0
        sentence = f"{Path(folder).name}: the captioner's captions, ready to review and correct."
        return [folder, ending, recursive, found, gr.update(visible=True), *_page(found, ending, place, sentence)]

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
    """Save the caption shown, then show the picture that `way` selects; stay if it cannot be saved."""

    def move(pictures: list[str], shown: dict[str, Any] | None, caption: str | None) -> list[Any]:
        if not shown or shown["picture"] not in pictures:  # the page was reloaded
            return [gr.skip()] * 4 + [refused("Not saved.", "Press Show again."), gr.skip()]
        page = manual.Page(Path(shown["picture"]), shown["caption"])
        try:
            sentence = manual.save(page, shown["extension"], caption or "")
        except ValueError as error:
            return [gr.skip()] * 4 + [refused("Not saved.", error), gr.skip()]
        place = min(max(way(pictures, shown), 0), len(pictures) - 1)
        return _page(pictures, shown["extension"], place, sentence)

    return move


def _page(pictures: list[str], extension: str, place: int, sentence: str) -> list[Any]:
    page = manual.read_page(pictures[place], extension)
    shown = {"picture": pictures[place], "caption": page.caption, "place": place, "extension": extension}
    label = f"Picture {place + 1} of {len(pictures)}: {shown_name(Path(page.picture.name))}"
    number = gr.update(value=place + 1, maximum=len(pictures), label=label)
    told = _told(sentence, page)
    return [shown, page.image(), page.caption, number, told, grid(pictures, extension, place)]


def _captioner_settings(ended: str) -> CaptionerSettings | None:
    """The settings of the run that has ended; None if it is not a captioner's, or no longer exists."""
    run = run_named((ended or "").partition(" ")[0])
    try:
        settings = settings_of(run) if run else None
    except (CannotResume, OSError, ValueError):
        return None
    return settings if isinstance(settings, CaptionerSettings) else None


def _told(sentence: str, page: manual.Page) -> Sentences:
    if page.problem:
        return refused("Warning:", page.problem)
    return said(sentence) if sentence else said("")
