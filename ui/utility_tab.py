"""Utilities: the jobs besides training, each with its form, and immediate actions."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from engine.jobs import UTILITIES
from engine.models.header import NoModel, read_metadata
from engine.networks.described import Described, described
from engine.settings.from_metadata import from_metadata
from engine.settings.paths import usable_path
from engine.settings.training import TrainingSettings
from engine.tools.compare import Name, job_name
from engine.tools.lora_metadata import unfolded
from ui import comparison_form
from ui.comparison_form import ComparisonForm
from ui.dataset_tab import DATASET
from ui.form import SILENT, Form, Told
from ui.manual_captioning import ManualCaptioning
from ui.runs_panel import RunsPanel
from ui.sentences import Sentences, refused, said
from ui.utility_form import UtilityForm

TAB = "Utilities"

CAPTIONING = "Captioning"
"""The tab that also contains captioning by hand, which is not a job: nothing runs."""


class UtilityTab:
    """Draws itself within gr.Blocks."""

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form = form
        self._jobs = {name: job for name, job in UTILITIES.items() if not job.tab.startswith(f"{DATASET}/")}
        self._utilities = {name: UtilityForm(name) for name in self._jobs if name != comparison_form.JOB}
        compared = {name: self._utilities[name] for name in map(job_name, get_args(Name))}
        self._utilities[comparison_form.JOB] = ComparisonForm(compared)
        self._manual = ManualCaptioning()

    @property
    def forms(self) -> list[UtilityForm]:
        return list(self._utilities.values())

    def draw(self) -> None:
        with gr.Tabs():
            for tab, jobs in groupby(self._jobs.items(), key=lambda item: item[1].tab.partition("/")[0]):
                with gr.Tab(tab, id=f"utilities-{tab}"):
                    with gr.Tabs():
                        if tab == CAPTIONING:
                            with gr.Tab("Manual", id="caption-manual"):
                                self._manual.draw()
                        for name, job in jobs:
                            with gr.Tab(job.tab.partition("/")[2], id=name):
                                self._utilities[name].draw()
                    if tab == CAPTIONING:
                        self._manual.draw_pages()
            with gr.Tab("LoRA metadata", id="utility-lora-metadata"):
                self._draw_metadata()

    def _draw_metadata(self) -> None:
        gr.Markdown("What a trained file records about itself: how it was made, from which pictures, and when.")
        with gr.Row():
            self.path = gr.Textbox(
                label="LoRA file (.safetensors)", elem_id="metadata-path", elem_classes="picks-file", scale=4
            )
            self.show = gr.Button("Show", elem_id="metadata-show", min_width=90)
            self.again = gr.Button(
                "Train like this one", elem_id="metadata-again", elem_classes="fills-form", min_width=150
            )
        self.said = gr.HTML(elem_id="metadata-said", elem_classes="said")
        self.table = gr.Code(language="json", label="Metadata", elem_id="metadata", interactive=False, visible=False)

    def connect(self, shown: list[Any], show: Callable[..., list[Any]], panel: RunsPanel) -> None:
        """shown, show: outputs that fill the training form, and their function.  panel: where runs are watched."""
        for utility in self._utilities.values():
            utility.connect(panel)
        self._manual.connect(panel.ended)
        for event in (self.show.click, self.path.submit):
            event(_show, [self.path], [self.said, self.table], **SILENT)

        def again(path: str, told: Told) -> list[Any]:
            try:
                file = usable_path("The path", path)
                network = _network(file)
                shown = network.values() if network else {}
                loaded, notes = from_metadata(read_metadata(file), self._form.readable(told), shown)
            except ValueError as error:
                return show(None, refused("Not loaded.", error))
            sentences = said(
                "The form now has the settings that this file was trained with.", [*notes, *loaded.report()]
            )
            return show(loaded.settings, sentences, told, "Undo Train like this one")

        self.again.click(again, [self.path, self._form.shown], shown, **SILENT)


def _show(path: str) -> tuple[Sentences, Any]:
    try:
        file = usable_path("The path", path)
        metadata, network = read_metadata(file), _network(file)
    except ValueError as error:
        return refused("Not shown.", error), gr.update(value="", visible=False)
    text = json.dumps(unfolded(metadata), indent=2, ensure_ascii=False)
    found = network.sentences() if network else []
    return said(f"{len(metadata)} entries.", found), gr.update(value=text, visible=True)


def _network(file: Path) -> Described | None:
    """What its tensors are; None where that cannot be read, whatever it says of itself."""
    try:
        return described(file)
    except NoModel:
        return None
