"""The settings as commands: an old command line fills the form, and the form prints one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from engine.settings.convert import convert
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings
from engine.settings.training import BadValues, TrainingSettings
from ui.findings import bullets
from ui.form import SILENT, Form


class CommandPanel:
    """Draws itself within gr.Blocks."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def draw(self) -> None:
        self.pasted = gr.Textbox(
            label="Paste settings",
            info="An old accelerate launch … line, or the text of a JSON or TOML file.",
            lines=2,
            max_lines=8,
            elem_id="pasted",
        )
        with gr.Row():
            self.fill = gr.Button("Fill the form with it", elem_id="fill", min_width=140)
            self.show = gr.Button("Print training command", elem_id="print-command", min_width=140)
        self.commands = gr.Markdown(elem_id="commands", visible=False)

    def connect(self, filled: list[Any], shown: list[Any], show: Callable[..., list[Any]]) -> None:
        """filled: inputs that say what the form holds.  shown, show: outputs that fill it, and what makes them."""

        def fill(text: str, base: TrainingSettings, *values: Any) -> list[Any]:
            before = self._form.readable(values, base)
            try:
                loaded = parse_settings(text, "The pasted text")
            except SettingsFileError as error:
                return show(None, f"**Not filled.** {error}")
            said = bullets("Filled with what was pasted.", loaded.report())
            return show(loaded.settings, said, before, "Undo Paste")

        self.fill.click(fill, [self.pasted, *filled], shown, **SILENT)
        self.show.click(self._print, filled, [self.commands], **SILENT)

    def _print(self, base: TrainingSettings, *values: Any) -> Any:
        try:
            return gr.update(value=commands(self._form.settings(values, base)), visible=True)
        except BadValues as error:
            return gr.update(value=f"**Not printed.** {error}", visible=True)


def commands(settings: TrainingSettings) -> str:
    """Our own command and sd-scripts', as Markdown, with what the latter cannot say."""
    ours, theirs = convert(settings, "command"), convert(settings, "sd-scripts-command")
    notes = "\n".join(f"- {note}" for note in dict.fromkeys([*ours.notes, *theirs.notes]))
    return (
        f"The same run without the page:\n```bash\n{ours.text.strip()}\n```\n"
        f"With sd-scripts:\n```bash\n{theirs.text.strip()}\n```\n{notes}"
    )
