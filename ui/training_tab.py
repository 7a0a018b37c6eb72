"""The training page: settings files, the form, the buttons, and the run beside it."""

from __future__ import annotations

import json
import re
import tempfile
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.begin import begin, busy_problem
from engine.check.check import check
from engine.check.mend import mended, with_free_name
from engine.check.problem import Checked, Problem, mendable
from engine.data.training_set import plan_here
from engine.demo.demo import write_demo
from engine.runs.folder import runs_root
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, read_settings, save_kohya
from engine.settings.paths import usable_path
from engine.settings.secrets import left_out
from engine.settings.training import Method, TrainingSettings
from engine.settings.values import BadValues
from ui import about_tab, model_switches, search
from ui.changed_view import changed_table
from ui.clicks import clicks_on
from ui.command_panel import CommandPanel
from ui.dataset_tab import DATASET, DatasetTab
from ui.findings import bad_values, findings_html
from ui.form import METHODS, SILENT, Form
from ui.kept import Kept, written
from ui.memory_panel import MemoryPanel
from ui.presets_panel import PresetsPanel, preview
from ui.remembered import Remembered
from ui.runs_panel import RunsPanel
from ui.sentences import NOTHING, Sentences, refused, said
from ui.stamps import SHOW_STAMP, stamp_of, stamped
from ui.utility_tab import UtilityTab

Values = tuple[Any, ...]


class TrainingTab:
    """Draws itself within gr.Blocks and connects what it drew.

    start_file: settings to begin with, from --config.
    """

    def __init__(self, start_file: Path | None = None) -> None:
        self.form = Form(TrainingSettings)
        self.presets = PresetsPanel(self.form)
        self.commands = CommandPanel(self.form)
        self.dataset = DatasetTab(self.form)
        self.utilities = UtilityTab(self.form)
        self.memory = MemoryPanel(self.form)
        self._start_file = start_file

    def draw(self) -> None:
        self.base = gr.State(TrainingSettings())  # carries what the form has no field for
        self.problems = gr.JSON([], visible=False)  # not a State: the page's script reads it
        self.stamp = gr.Textbox(visible="hidden", elem_id="form-stamp")
        self.before: Any = gr.State(None)  # the settings before the form was filled anew
        self.kept = Kept("form")
        self.remembered = Remembered([*self.dataset.forms, *self.utilities.forms])
        with gr.Row(elem_classes="page"):
            with gr.Column(scale=6, min_width=420):
                with gr.Tabs(selected=TrainingSettings().method, elem_id="methods") as self.methods:
                    self.method_tabs = {method: gr.Tab(words, id=method) for method, words in METHODS.items()}
                with gr.Row(elem_classes="finders"):
                    self.presets.draw_chooser()
                    gr.HTML(search.BOX, min_width=180)
                self.presets.draw_preview()
                self.presets.draw_keeping()
                self._draw_files()
                with gr.Row(elem_classes="outcome"):
                    self.said = gr.HTML(elem_id="said", elem_classes="said")
                    self.undo = gr.Button("Undo", visible=False, elem_id="undo", size="sm", min_width=80, scale=0)
                self.changed = gr.HTML(
                    changed_table(TrainingSettings()), elem_id="changed", js_on_load=clicks_on("reset")
                )
                with gr.Tabs(elem_id="settings"):
                    for tab in self.form.tabs():
                        with gr.Tab(tab, id=tab):
                            self.form.draw(tab)
                    with gr.Tab(DATASET, id=DATASET) as self.dataset_tab:
                        self.dataset.draw()
                    with gr.Tab("Utilities", id="Utilities"):
                        self.utilities.draw()
                    with gr.Tab("About", id="About"):
                        about_tab.draw()
            with gr.Column(scale=5, min_width=380, elem_classes="run-column"):
                self._draw_buttons()
                self.panel = RunsPanel()
                self.panel.draw()

    def connect(self, blocks: gr.Blocks) -> None:
        form, panel = self.form, self.panel
        values = form.inputs
        form.connect_visibility(self.base)

        filled = [self.base, *values]
        shown = [*values, self.base, self.said, self.before, self.undo]
        self.kept.when_loaded(blocks, self._first_values, shown)
        for method, tab in self.method_tabs.items():
            tab.select(partial(self._to_method, method), filled, shown, **SILENT)
        self.base.change(lambda base: gr.update(selected=base.method), [self.base], [self.methods], **SILENT)
        self.load.click(self._load, [self.path, *filled], shown, **SILENT)
        self.path.submit(self._load, [self.path, *filled], shown, **SILENT)
        self.upload.upload(self._load, [self.upload, *filled], shown, **SILENT)
        self.save.click(self._save, [self.path, *filled], [self.said], **SILENT)
        self.download.click(self._download, filled, [self.download], **SILENT)
        self.reset.click(self._reset, filled, shown, **SILENT)
        self.demo.click(self._demo, filled, shown, **SILENT)
        self.undo.click(self._undo, [self.before], shown, **SILENT)
        self.changed.click(self._reset_one, [self.base], [*values, self.base], **SILENT)
        self.commands.connect(filled, shown, self._shown)
        self.dataset.connect(self.dataset_tab, filled, panel)
        self.utilities.connect(filled, shown, self._shown, panel)
        self.presets.connect(blocks, self.base, self.said, shown, self._shown)
        changed: dict[str, Any] = {
            "fn": self._changed,
            "inputs": [self.presets.chosen, *filled],
            "outputs": [self.steps, self.kept.text, self.changed, self.presets.preview, self.stamp],
            "queue": False,
        }
        events = [self.base.change, *(component.change for component in values)]
        gr.on(events, **changed, trigger_mode="always_last", **SILENT)
        self.stamp.change(None, [self.stamp], None, js=SHOW_STAMP)

        model_switches.connect(form, self.said)
        self.memory.connect(filled, self.base)
        findings = [self.problems, self.findings, self.fix]
        self.check.click(self._check, filled, findings, **SILENT).then(None, [self.problems], None, js=SHOW_PROBLEMS)
        started = self.start.click(self._start, filled, [*findings, panel.chosen], **SILENT)
        started.then(None, [self.problems], None, js=SHOW_PROBLEMS).then(
            panel.tick, [panel.chosen, panel.seen], panel.outputs, **SILENT
        )
        self.fix.click(self._mend, [self.problems, *filled], [*shown, *findings], **SILENT).then(
            self._check, filled, findings, **SILENT
        ).then(None, [self.problems], None, js=SHOW_PROBLEMS).then(**changed, **SILENT)
        self.remembered.connect(blocks)
        panel.connect(blocks)

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def _draw_files(self) -> None:
        with gr.Accordion("Configuration", open=False, elem_id="configuration"):
            with gr.Row():
                self.path = gr.Textbox(
                    label="Settings file",
                    placeholder="path of a .json or .toml file, kohya_ss's or ours",
                    elem_id="settings-path",
                    scale=4,
                )
                self.load = gr.Button("Load", elem_id="load", min_width=80)
                self.save = gr.Button("Save", elem_id="save", min_width=80)
            with gr.Row():
                self.upload = gr.UploadButton(
                    "Open a file from this computer", file_types=[".json", ".toml", ".txt"], elem_id="upload"
                )
                self.download = gr.DownloadButton("Download as a file", elem_id="download")
                self.reset = gr.Button("Back to the defaults", elem_id="reset")
            self.commands.draw()

    def _draw_buttons(self) -> None:
        with gr.Row(elem_classes="actions"):
            self.demo = gr.Button("Try it now", elem_id="try", min_width=100)
            self.check = gr.Button("Check", elem_id="check", min_width=90)
            self.start = gr.Button("Start training", variant="primary", elem_id="start", min_width=130)
        self.steps = gr.HTML(elem_id="steps")
        self.memory.draw()
        self.findings = gr.HTML(elem_id="findings")
        self.fix = gr.Button("", visible=False, elem_id="fix", variant="secondary")

    # ── settings in and out ───────────────────────────────────────────────────────────────────────

    def _first_values(self, kept: dict[str, Any] | None) -> list[Any]:
        """What the form shows first: what this browser had last, else the defaults.

        The first page that is opened begins with --config; loaded again, it keeps what was changed since.
        """
        start_file, self._start_file = self._start_file, None
        if start_file is not None:
            start = TrainingSettings()
            return [*self._load(str(start_file), start, *self.form.updates(start))[:-2], None, gr.update(visible=False)]
        if not isinstance(kept, dict):
            return self._shown(None, NOTHING)  # the defaults stand there already, and what was typed meanwhile stays
        try:
            return self._shown(parse_settings(json.dumps(kept)).settings, NOTHING)
        except SettingsFileError:
            return self._shown(None, NOTHING)

    def _shown(
        self,
        settings: TrainingSettings | None,
        sentences: Sentences,
        before: TrainingSettings | None = None,
        undo: str = "",
    ) -> list[Any]:
        """Updates that show the settings, or leave the form as it is; `before` is where the button `undo` leads."""
        if settings is None:
            return [*(gr.skip() for _ in self.form.inputs), gr.skip(), sentences, gr.skip(), gr.skip()]
        return [*self.form.updates(settings), settings, sentences, before, gr.update(value=undo, visible=bool(undo))]

    def _load(self, path: str, base: TrainingSettings, *values: Any) -> list[Any]:
        try:
            loaded = read_settings(usable_path("Settings file", path))
        except ValueError as error:
            return self._shown(None, refused("Not loaded.", error))
        sentences = said(f"Loaded {Path(path).name}.", loaded.report())
        return self._shown(loaded.settings_by(base.method), sentences, self.form.readable(values, base), "Undo Load")

    def _to_method(self, method: Method, base: TrainingSettings, *values: Any) -> list[Any]:
        if method == base.method:
            return self._shown(None, NOTHING)
        return self._shown(self.form.readable(values, base).for_method(method), NOTHING)

    def _undo(self, before: TrainingSettings | None) -> list[Any]:
        return self._shown(before, said("The form is as it was before."))

    def _reset_one(self, base: TrainingSettings, click: gr.EventData) -> list[Any]:
        """Put the option whose button was clicked back to its default."""
        name = str(click.option)
        known = TrainingSettings().for_method(base.method).values()
        fields = [gr.update(value=known[name]) if item == name else gr.skip() for item in self.form.options]
        return [*fields, base.with_values({name: known[name]}) if name in known else gr.skip()]

    def _save(self, path: str, base: TrainingSettings, *values: Any) -> Sentences:
        if not path.strip():
            return refused("Not saved.", "Write the file's path into Settings file.")
        try:
            settings = self.form.settings(values, base)
            file = save_kohya(settings, usable_path("Settings file", path))
        except ValueError as error:
            return refused("Not saved.", error)
        return said(f"Saved {file}.", left_out(settings.parted_from_secrets()[1]))

    def _download(self, base: TrainingSettings, *values: Any) -> Any:
        """The file that the browser is given, in a new folder of the system's for such files."""
        try:
            settings = self.form.settings(values, base)
        except BadValues as error:
            raise gr.Error(escape(f"Nothing was downloaded. {error}"), print_exception=False) from None
        name = re.sub(r"[^\w. -]+", "-", settings.folders.output_name).strip(". -") or "settings"
        return str(save_kohya(settings, Path(tempfile.mkdtemp()) / name[:100]))

    def _reset(self, base: TrainingSettings, *values: Any) -> list[Any]:
        before = self.form.readable(values, base)
        return self._shown(
            TrainingSettings().for_method(base.method),
            said("The form is back at its defaults."),
            before,
            "Undo the reset",
        )

    def _demo(self, base: TrainingSettings, *values: Any) -> list[Any]:
        settings = with_free_name(write_demo(runs_root().with_name("demo")))
        sentences = said("Filled with the built-in model and its pictures. Press Start training.")
        return self._shown(settings, sentences, self.form.readable(values, base), "Undo Try it now")

    def _changed(self, preset: str | None, base: TrainingSettings, *values: Any) -> list[Any]:
        """All that follows the form: the steps, what the browser keeps, what differs, what the preset would change, and
        the stamp by which the page sees what else was made from another state of it.
        """
        settings, stamp = self.form.readable(values, base), stamp_of(self.form, base, values)
        return [
            self._steps_line(base, values),
            written(settings.parted_from_secrets()[0].model_dump(mode="json")),
            changed_table(settings),
            stamped(preview(preset, settings), stamp),
            stamp,
        ]

    def _steps_line(self, base: TrainingSettings, values: Values) -> Sentences:
        """The arithmetic of the steps, or nothing where the pictures cannot be counted yet."""
        try:
            plan = plan_here(self.form.settings(values, base))
        except BadValues:
            return NOTHING
        return said(plan.arithmetic()) if plan else NOTHING

    # ── check, mend, start ────────────────────────────────────────────────────────────────────────

    def _check(self, base: TrainingSettings, *values: Any) -> list[Any]:
        try:
            checked = check(self.form.settings(values, base))
        except BadValues as error:
            checked = bad_values(error)
        return self._findings(checked, base, values)

    def _findings(self, checked: Checked, base: TrainingSettings, values: Values) -> list[Any]:
        fixes = [problem.fix for problem in mendable(checked.problems)]
        button = gr.update(value=fixes[0] if fixes else "", visible=bool(fixes))
        shown = stamped(findings_html(checked, self.form), stamp_of(self.form, base, values))
        return [[p.as_plain() for p in checked.problems], shown, button]

    def _mend(self, problems: list[dict[str, Any]], base: TrainingSettings, *values: Any) -> list[Any]:
        problem = next(iter(mendable([Problem(**plain) for plain in problems])), None)
        if problem is None:
            return [*self._shown(None, NOTHING), gr.skip(), gr.skip(), gr.skip()]
        try:
            settings = mended(problem, self.form.settings(values, base))
        except (BadValues, OSError) as error:
            return [*self._shown(None, refused("Not done.", error)), gr.skip(), gr.skip(), gr.skip()]
        return [*self._shown(settings, NOTHING), [], "", gr.update(visible=False)]

    def _start(self, base: TrainingSettings, *values: Any) -> list[Any]:
        try:
            settings = self.form.settings(values, base)
        except BadValues as error:
            return [*self._findings(bad_values(error), base, values), gr.skip()]
        busy = busy_problem()
        if busy is not None:
            return [*self._findings(Checked([busy], None), base, values), gr.skip()]
        checked, run = begin(settings)
        if run is None:
            return [*self._findings(checked, base, values), gr.skip()]
        return [[], "", gr.update(visible=False), self.panel.choose(run)]


SHOW_PROBLEMS = "(problems) => darkroom.showProblems(problems)"
