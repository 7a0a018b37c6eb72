"""The settings as commands: an old command line fills in the form, and the form prints one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from engine.data.training_set import plan_here
from engine.settings.convert import Converted, convert
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from ui.form import SILENT, Form, Told
from ui.sentences import listed, refused, said
from ui.stamps import stamp_of, stamped


class CommandPanel:
    """Draws itself within gr.Blocks."""

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form = form

    def draw(self) -> None:
        self.pasted = gr.Textbox(
            label="Paste settings",
            info="An existing accelerate launch … command, or the contents of a JSON or TOML file.",
            lines=2,
            max_lines=8,
            elem_id="pasted",
        )
        with gr.Row():
            self.fill = gr.Button("Fill in the form", elem_id="fill", elem_classes="fills-form", min_width=140)
            self.show = gr.Button(
                "Print training command", elem_id="print-command", elem_classes="takes-form", min_width=140
            )
        with gr.Column(visible=False, elem_id="commands") as self.commands:
            looks: dict[str, Any] = {
                "language": "shell",
                "interactive": False,
                "wrap_lines": True,
                "show_line_numbers": False,
            }
            self.ours = gr.Code(label="The same run from the command line", **looks)
            self.theirs = gr.Code(label="With sd-scripts", **looks)
            self.notes = gr.HTML(elem_classes="said")

    def connect(self, shown: list[Any], show: Callable[..., list[Any]]) -> None:
        """shown, show: outputs that fill in the form, and the function that makes them."""

        def fill(text: str, told: Told) -> list[Any]:
            method = self._form.readable(told).method
            try:
                loaded = parse_settings(text, "The pasted text")
            except SettingsFileError as error:
                return show(None, refused("Not loaded.", error))
            sentences = said("Filled in from the pasted text.", loaded.report())
            return show(loaded.settings_by(method), sentences, told, "Undo Paste")

        self.fill.click(fill, [self.pasted, self._form.shown], shown, **SILENT)
        printed = [self.commands, self.ours, self.theirs, self.notes]
        self.show.click(self._print, [self._form.shown], printed, **SILENT)

    def _print(self, told: Told) -> list[Any]:
        """Our own command and sd-scripts', and what they cannot express."""
        try:
            settings = self._form.settings(told)
        except BadValues as error:
            hidden = gr.update(visible=False)
            return [gr.update(visible=True), hidden, hidden, refused("Not printed.", error)]
        ours = convert(settings, "command")
        try:
            plan = plan_here(settings)
            theirs = convert(settings, "sd-scripts-command", steps=plan.steps if plan else None)
        except SettingsFileError as error:
            theirs = Converted("", [str(error)])
        stamp = stamp_of(self._form, told)
        printed = [gr.update(value=one.text.strip(), visible=bool(one.text)) for one in (ours, theirs)]
        notes = listed(dict.fromkeys([*ours.notes, *theirs.notes]))
        return [
            gr.update(visible=True),
            *printed,
            stamped(notes or said("These commands cover the whole form."), stamp),
        ]
