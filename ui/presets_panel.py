"""Presets on the page: choose one, see what it would change, apply it; save, rename, delete and import your own."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.runs.folder import runs_root
from engine.settings.presets import Preset, PresetError, PresetExists, Presets
from engine.settings.training import Method, TrainingSettings
from engine.settings.values import BadValues
from ui.changed_view import preview_table
from ui.form import SILENT, Form, Told
from ui.sentences import NOTHING, Sentences, listed, refused, said
from ui.stamps import stamp_of, stamped

Settle = Callable[..., list[Any]]
"""Shows settings in the form: (settings or None, sentences, the form's value, label of the undo button) → updates."""


def own_presets() -> Path:
    """Where the user's presets are kept: DARKROOM_PRESETS, or my-presets/ next to the runs."""
    return Path(os.environ.get("DARKROOM_PRESETS") or runs_root().with_name("my-presets")).absolute()


class PresetsPanel:
    """Draws itself in three places within gr.Blocks; a preset is known by "ours/NAME" or "own/NAME".

    Delete, rename and replace ask for confirmation: `asked` holds what the question is about.
    """

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form = form

    def draw_chooser(self) -> None:
        self.chosen = gr.Dropdown(
            _choices(TrainingSettings().method),
            value=None,
            label="Preset: a starting point for your settings",
            elem_id="preset",
            min_width=180,
        )

    def draw_preview(self) -> None:
        with gr.Column(visible=False, elem_id="preset-box") as self.box:
            self.preview = gr.HTML(elem_id="preset-preview")
            with gr.Row(elem_classes="actions"):
                self.apply = gr.Button(
                    "Apply",
                    variant="primary",
                    elem_id="preset-apply",
                    elem_classes="fills-form",
                    size="md",
                    min_width=80,
                )
                self.rename = gr.Button("Rename", elem_id="preset-rename", size="md", min_width=80, visible=False)
                self.delete = gr.Button("Delete", elem_id="preset-delete", size="md", min_width=80, visible=False)
                self.close = gr.Button("Close", elem_id="preset-close", size="md", min_width=80)
        self.asked: Any = gr.State(None)
        with gr.Row(visible=False, elem_id="preset-question") as self.question_row:
            self.question = gr.HTML(elem_classes="said")
            self.answer = gr.Textbox(show_label=False, elem_id="preset-new-name", container=False, min_width=140)
            self.yes = gr.Button("Yes", variant="stop", elem_id="preset-yes", size="md", min_width=80, scale=0)
            self.no = gr.Button("No", elem_id="preset-no", size="md", min_width=80, scale=0)

    def draw_keeping(self) -> None:
        with gr.Accordion("My presets", open=False, elem_id="my-presets"):
            with gr.Row():
                self.name = gr.Textbox(label="Name", elem_id="preset-name", scale=2, min_width=140)
                self.sentence = gr.Textbox(
                    label="When to use it", placeholder="optional", elem_id="preset-sentence", scale=4
                )
                self.save = gr.Button("Save as preset", elem_id="preset-save", elem_classes="takes-form", min_width=160)
            self.file = gr.File(
                label="Drop any preset or settings file here to add it to your presets",
                file_types=[".json", ".toml"],
                height=160,
                elem_id="preset-file",
            )
            gr.Markdown(
                "A preset stores the recipe: what differs from the defaults, except your model, folders, names, "
                "prompts, metadata and machine settings. To rename or delete one of yours, choose it above."
            )

    def connect(self, blocks: gr.Blocks, said: gr.HTML, shown: list[Any], settle: Settle) -> None:
        """said: where messages go.  shown: the outputs that `settle` fills."""
        self._settle = settle
        form = self._form.shown
        outcome = [said, self.chosen, self.asked, self.question, self.answer, self.question_row]
        look: dict[str, Any] = {
            "fn": self._look,
            "inputs": [self.chosen, form],
            "outputs": [self.box, self.preview, self.rename, self.delete],
        }
        for event in (blocks.load, self.chosen.focus, form.turned):
            event(self._relisted, [self.chosen, form], [self.chosen], **SILENT)
        self.chosen.change(**look, **SILENT)
        self.apply.click(self._apply, [self.chosen, form], [*shown, self.chosen], **SILENT)
        self.close.click(lambda: None, None, [self.chosen], **SILENT)
        self.save.click(self._save, [self.name, self.sentence, form], outcome, **SILENT)
        self.rename.click(_ask_to_rename, [self.chosen], outcome, **SILENT)
        self.delete.click(_ask_to_delete, [self.chosen], outcome, **SILENT)
        self.no.click(_outcome, None, outcome, **SILENT)
        gr.on(
            [self.yes.click, self.answer.submit], self._answered, [self.asked, self.answer, form], outcome, **SILENT
        ).then(**look, **SILENT)
        self.file.upload(self._import, [self.file, form], [*outcome, self.file], **SILENT)

    def _method(self, told: Told) -> Method:
        return self._form.readable(told).method

    def _relisted(self, chosen: str | None, told: Told) -> Any:
        return relisted(chosen, self._method(told))

    def _look(self, chosen: str | None, told: Told) -> list[Any]:
        """The chosen preset's box: what it would change, and its buttons."""
        own = gr.update(visible=bool(chosen) and str(chosen).startswith("own/"))
        shown = stamped(preview(chosen, self._form.readable(told)), stamp_of(self._form, told))
        return [gr.update(visible=bool(chosen)), shown, own, own]

    def _apply(self, chosen: str | None, told: Told) -> list[Any]:
        before = self._form.readable(told)
        try:
            preset = _found(chosen, before.method)
            recipe = _presets(before.method).load(preset)
        except PresetError as error:
            return [*self._settle(None, refused("Not applied.", error)), gr.skip()]
        sentences = said(f"Applied {preset.name}.", recipe.report)
        return [*self._settle(recipe.applied_to(before), sentences, told, f"Undo {preset.name}"), None]

    def _save(self, name: str, sentence: str, told: Told) -> list[Any]:
        method = self._method(told)
        try:
            return _kept(_presets(method).save(name, self._form.settings(told), sentence), method)
        except PresetExists as error:
            return _asking(("replace", name, sentence), f"{error} Replace it?")
        except (PresetError, BadValues) as error:
            return _outcome(refused("Not saved.", error))

    def _answered(self, asked: tuple[str, ...] | None, answer: str, told: Told) -> list[Any]:
        """Do what was asked about."""
        method = self._method(told)
        presets = _presets(method)
        try:
            if asked is None:
                return _outcome()
            if asked[0] == "replace":
                return _kept(presets.save(asked[1], self._form.settings(told), asked[2], replace=True), method)
            preset = _found(asked[1], method)
            if asked[0] == "rename":
                renamed = presets.rename(preset, answer)
                return _outcome(said(f"Renamed {preset.name} to {renamed.name}."), _chosen(renamed, method))
            presets.delete(preset)
        except (PresetError, BadValues) as error:
            return _outcome(refused("Not done.", error))
        return _outcome(said(f"Deleted {preset.name}."), gr.update(choices=_choices(method), value=None))

    def _import(self, path: str, told: Told) -> list[Any]:
        method = self._method(told)
        try:
            preset, report = _presets(method).import_file(Path(path))
        except PresetError as error:
            return [*_outcome(refused("Not imported.", error)), None]
        sentences = said(f"Added {preset.name} to your presets.", report)
        return [*_outcome(sentences, _chosen(preset, method)), None]


def preview(chosen: str | None, before: TrainingSettings) -> str:
    """When to use the chosen preset and what it would change, as HTML; empty if none is chosen."""
    if not chosen:
        return ""
    try:
        recipe = _presets(before.method).load(_found(chosen, before.method))
    except PresetError as error:
        return f"<p>{escape(str(error))}</p>"
    table = preview_table(before, recipe.applied_to(before))
    return f'<p class="when">{escape(recipe.description)}</p>{table}{listed(recipe.report)}'


def _ask_to_rename(chosen: str) -> list[Any]:
    name = chosen.partition("/")[2]
    return _asking(("rename", chosen), f"New name for “{name}”:", name)


def _ask_to_delete(chosen: str) -> list[Any]:
    return _asking(("delete", chosen), f"Delete “{chosen.partition('/')[2]}”?")


def _kept(preset: Preset, method: Method) -> list[Any]:
    return _outcome(said(f"Saved the preset {preset.name}."), _chosen(preset, method))


def _asking(asked: tuple[str, ...], question: str, answer: str | None = None) -> list[Any]:
    answer_field = gr.update(value=answer or "", visible=answer is not None)
    return [gr.skip(), gr.skip(), asked, said(question), answer_field, gr.update(visible=True)]


def _outcome(sentences: Sentences = NOTHING, chosen: Any = None) -> list[Any]:
    """Close the question; show messages and a new choice, if there are any."""
    return [
        sentences or gr.skip(),
        chosen or gr.skip(),
        None,
        NOTHING,
        gr.update(visible=False),
        gr.update(visible=False),
    ]


def _presets(method: Method) -> Presets:
    return Presets(own_presets(), method=method)


def _found(chosen: str | None, method: Method) -> Preset:
    """Raises PresetError."""
    whose, _, name = (chosen or "").partition("/")
    return _presets(method).find(name, ours=whose == "ours")


def _id(preset: Preset) -> str:
    return f"{'ours' if preset.ours else 'own'}/{preset.name}"


def _choices(method: Method) -> list[tuple[str, str]]:
    return [
        (preset.name if preset.ours else f"{preset.name} (yours)", _id(preset)) for preset in _presets(method).all()
    ]


def _chosen(preset: Preset, method: Method) -> Any:
    return gr.update(choices=_choices(method), value=_id(preset))


def relisted(chosen: str | None, method: Method) -> Any:
    """The current presets.  The choice is cleared if its preset is gone; otherwise it is left alone, as it may have
    changed meanwhile.
    """
    choices = _choices(method)
    is_gone = chosen and chosen not in [value for _, value in choices]
    return gr.update(choices=choices, value=None) if is_gone else gr.update(choices=choices)
