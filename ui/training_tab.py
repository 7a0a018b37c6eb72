"""The training page: settings files, the form, the buttons, and the run beside it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.begin import begin, busy_problem
from engine.check.check import check
from engine.check.mend import mended, with_free_name
from engine.check.problem import Checked, Problem, mendable
from engine.data.training_set import learning_from, plan_here
from engine.demo.demo import write_demo
from engine.failure import Failure
from engine.runs.folder import runs_root
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, read_settings, save_kohya
from engine.settings.paths import usable_path
from engine.settings.secrets import left_out
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from ui import about_tab, model_switches, run_care, utility_tab
from ui.changed_view import changed_table
from ui.clicks import clicks_on
from ui.command_panel import CommandPanel
from ui.dataset_tab import DATASET, DatasetTab
from ui.findings import bad_values, findings_html
from ui.form import SILENT, Form, Told
from ui.form_view import METHODS, methods_html
from ui.kept import Kept, written
from ui.memory_panel import MemoryPanel
from ui.network_line import NetworkLine
from ui.presets_panel import PresetsPanel, preview
from ui.remembered import Remembered
from ui.runs_panel import RunsPanel
from ui.sentences import NOTHING, Sentences, refused, said
from ui.stamps import SHOW_STAMP, stamp_of, stamped
from ui.utility_tab import UtilityTab

MODEL = "pretrained_model_name_or_path"

IMAGES = "train_data_dir"

TO_IMAGES = f"() => darkroom.goTo('{IMAGES}')"

TRAIN = "Train"

SHOW_PROBLEMS = "(problems) => darkroom.showProblems(problems)"

UNDO = """() => {
  darkroom.forms.option.undo();
  const hidden = { __type__: "update", visible: false };
  return ["<p>The form is back to what it was before.</p>", hidden, [], "", hidden];
}"""
"""The page has what the form said before; nothing is asked of the server."""

NO_FINDINGS: tuple[Any, ...] = ([], "", gr.update(visible=False))
"""What was found of another state of the form does not stay beside this one."""

CHANGES = clicks_on("reset") + "\nwatch('value', () => darkroom.dressFields());"


class TrainingTab:
    """Draws itself within gr.Blocks and connects what it drew.

    start_file: settings to begin with, from --config.
    """

    def __init__(self, start_file: Path | None = None) -> None:
        self.form = Form(TrainingSettings, in_tabs=True, tells=[MODEL])
        self.presets = PresetsPanel(self.form)
        self.commands = CommandPanel(self.form)
        self.dataset = DatasetTab(self.form)
        self.utilities = UtilityTab(self.form)
        self.memory = MemoryPanel(self.form)
        self.network = NetworkLine(self.form)
        self._start_file = start_file

    def draw(self) -> None:
        self.problems = gr.JSON([], visible=False)  # not a State: the page's script reads it
        self.stamp = gr.Textbox(visible="hidden", elem_id="form-stamp")
        self.kept = Kept("form")
        self.remembered = Remembered([*self.dataset.forms, *self.utilities.forms])
        self.panel, self.utility_panel = RunsPanel(), RunsPanel(of_utilities=True)
        with gr.Tabs(elem_id="places"):
            with gr.Tab(TRAIN, id=TRAIN), gr.Row(elem_classes="page"):
                with gr.Column(scale=6, min_width=360, elem_classes="form-column"):
                    self._draw_form()
                with gr.Column(scale=5, min_width=360, elem_classes="run-column watched-run"):
                    self._draw_buttons()
                    self.panel.draw()
                    self.memory.draw()
            with gr.Tab(DATASET, id=DATASET) as self.dataset_tab:
                self.dataset.draw()
            with gr.Tab(utility_tab.TAB, id=utility_tab.TAB):
                self.utilities.draw()
            with gr.Tab("About", id="About"):
                about_tab.draw()
        with gr.Column(elem_id="utility-runs", elem_classes="watched-run"):
            self.utility_panel.draw()

    def connect(self, blocks: gr.Blocks) -> None:
        form, panel = self.form.shown, self.panel
        findings = [self.problems, self.findings, self.fix]
        shown = [form, self.said, self.undo, *findings]
        self.kept.when_loaded(blocks, self._first_values, shown)
        self.methods.click(self._to_method, [form], shown, **SILENT)
        for event in (self.load.click, self.path.submit):
            event(self._load, [self.path, form], shown, **SILENT)
        self.upload.upload(self._load, [self.upload, form], shown, **SILENT)
        self.save.click(self._save, [self.path, form], [self.said], **SILENT)
        self.download.click(self._download, [form], [self.download], **SILENT)
        self.reset.click(self._reset, [form], shown, **SILENT)
        self.demo.click(self._demo, [form], shown, **SILENT)
        self.undo.click(None, None, [self.said, self.undo, *findings], js=UNDO, **SILENT)
        self.problems.change(None, [self.problems], None, js=SHOW_PROBLEMS, **SILENT)
        self.changed.click(self._reset_one, [form], [form], **SILENT)
        self.commands.connect(shown, self._shown)
        self.dataset.connect(self.dataset_tab, self.utility_panel, partial(self._train_on, shown))
        self._train_on(shown, self.utility_panel.overview.train, run_care.made_by, [])
        self.utilities.connect(shown, self._shown, self.utility_panel)
        self.presets.connect(blocks, self.said, shown, self._shown)
        changed: dict[str, Any] = {
            "fn": self._changed,
            "inputs": [self.presets.chosen, form],
            "outputs": [self.steps, self.kept.text, self.changed, self.presets.preview, self.stamp],
            "queue": False,
        }
        form.edited(**changed, trigger_mode="always_last", **SILENT)
        self.stamp.change(None, [self.stamp], None, js=SHOW_STAMP)

        model_switches.connect(self.form, self.said)
        self.memory.connect()
        self.network.connect()
        self.check.click(self._check, [form], findings, **SILENT).then(None, [self.problems], None, js=SHOW_PROBLEMS)
        started = self.start.click(self._start, [form], [*findings, panel.chosen], **SILENT)
        started.then(None, [self.problems], None, js=SHOW_PROBLEMS).then(
            panel.tick, [panel.chosen, panel.seen], panel.outputs, **SILENT
        )
        self.fix.click(self._mend, [self.problems, form], shown, **SILENT).then(
            self._check, [form], findings, **SILENT
        ).then(None, [self.problems], None, js=SHOW_PROBLEMS).then(**changed, **SILENT)
        self.remembered.connect(blocks)
        panel.connect(blocks)
        self.utility_panel.connect(blocks)

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def _draw_form(self) -> None:
        self.methods = gr.HTML(
            methods_html(TrainingSettings().method), elem_id="methods", js_on_load=clicks_on("method"), padding=False
        )
        self.presets.draw_chooser()
        self.presets.draw_preview()
        self.presets.draw_keeping()
        self._draw_files()
        with gr.Row(elem_classes="outcome"):
            self.said = gr.HTML(elem_id="said", elem_classes="said", js_on_load="watch('value', darkroom.answered)")
            self.undo = gr.Button("Undo", visible=False, elem_id="undo", size="sm", min_width=80, scale=0)
        self.changed = gr.HTML(changed_table(TrainingSettings()), elem_id="changed", js_on_load=CHANGES)
        self.form.draw()

    def _draw_files(self) -> None:
        with gr.Accordion("Configuration", open=False, elem_id="configuration"):
            with gr.Row():
                self.path = gr.Textbox(
                    label="Settings file",
                    placeholder="path of a .json or .toml file from kohya_ss or Darkroom",
                    elem_id="settings-path",
                    elem_classes="picks-file",
                    scale=4,
                )
                self.load = gr.Button("Load", elem_id="load", elem_classes="fills-form", min_width=80)
                self.save = gr.Button("Save", elem_id="save", elem_classes="takes-form", min_width=80)
            with gr.Row():
                self.upload = gr.UploadButton(
                    "Open a file from this computer", file_types=[".json", ".toml", ".txt"], elem_id="upload"
                )
                self.download = gr.DownloadButton("Download as a file", elem_id="download", elem_classes="takes-form")
                self.reset = gr.Button("Reset to defaults", elem_id="reset", elem_classes="fills-form")
            self.commands.draw()

    def _draw_buttons(self) -> None:
        with gr.Row(elem_classes="actions", elem_id="main-actions"):
            self.demo = gr.Button("Try it now", elem_id="try", elem_classes="fills-form", min_width=100)
            self.check = gr.Button("Check", elem_id="check", elem_classes="takes-form", min_width=90)
            self.start = gr.Button(
                "Start training", variant="primary", elem_id="start", elem_classes="takes-form", min_width=130
            )
        self.steps = gr.HTML(elem_id="steps")
        self.network.draw()
        self.findings = gr.HTML(elem_id="findings")
        self.fix = gr.Button("", visible=False, elem_id="fix", elem_classes="fills-form", variant="secondary")

    # ── settings in and out ───────────────────────────────────────────────────────────────────────

    def _first_values(self, kept: dict[str, Any] | None) -> list[Any]:
        """What the form shows first: what this browser had last, else the defaults.

        The first page that is opened begins with --config; loaded again, it keeps what was changed since.
        """
        start_file, self._start_file = self._start_file, None
        if start_file is not None:
            form, sentences, *_ = self._load(str(start_file), {})
            return [form, sentences, gr.update(visible=False), *NO_FINDINGS]
        if not isinstance(kept, dict):
            return self._shown(None, NOTHING)  # the defaults stand there already, and what was typed meanwhile stays
        try:
            return self._shown(parse_settings(json.dumps(kept)).settings, NOTHING)
        except SettingsFileError:
            return self._shown(None, NOTHING)

    def _shown(
        self, settings: TrainingSettings | None, sentences: Sentences, told: Told = None, undo: str = ""
    ) -> list[Any]:
        """Updates that show the settings, or leave the form as it is; `undo` is what the way back is called."""
        if settings is None:
            return [gr.skip(), sentences, *[gr.skip()] * 4]
        back = gr.update(value=undo, visible=bool(undo))
        return [self.form.fill(settings, told, undo), sentences, back, *NO_FINDINGS]

    def _load(self, path: str, told: Told) -> list[Any]:
        try:
            loaded = read_settings(usable_path("Settings file", path))
        except ValueError as error:
            return self._shown(None, refused("Not loaded.", error))
        sentences = said(f"Loaded {Path(path).name}.", loaded.report())
        return self._shown(loaded.settings_by(self.form.readable(told).method), sentences, told, "Undo Load")

    def _to_method(self, told: Told, click: gr.EventData) -> list[Any]:
        before = self.form.readable(told)
        method = next((method for method in METHODS if method == click.option), before.method)
        if method == before.method:
            return self._shown(None, NOTHING)
        return self._shown(before.for_method(method), NOTHING, told)

    def _reset_one(self, told: Told, click: gr.EventData) -> Any:
        """Put the option whose button was clicked back to its default."""
        known = TrainingSettings().for_method(self.form.readable(told).method).values()
        name = str(click.option)
        return self.form.set(told, {name: known[name]}) if name in known else gr.skip()

    def _save(self, path: str, told: Told) -> Sentences:
        if not path.strip():
            return refused("Not saved.", "Enter the file's path in Settings file.")
        try:
            settings = self.form.settings(told)
            file = save_kohya(settings, usable_path("Settings file", path))
        except ValueError as error:
            return refused("Not saved.", error)
        return said(f"Saved {file}.", left_out(settings.parted_from_secrets()[1]))

    def _download(self, told: Told) -> Any:
        """The file that the browser is given, in a new folder of the system's for such files."""
        try:
            settings = self.form.settings(told)
        except BadValues as error:
            raise gr.Error(escape(f"Nothing was downloaded. {error}"), print_exception=False) from None
        name = re.sub(r"[^\w. -]+", "-", settings.folders.output_name).strip(". -") or "settings"
        return str(save_kohya(settings, Path(tempfile.mkdtemp()) / name[:100]))

    def _train_on(self, shown: list[Any], event: Any, make: Callable[..., dict[str, str]], inputs: list[Any]) -> None:
        """At this event have the run learn from other pictures, and lead to their field.

        make: of the event and the inputs makes values by option; raises Failure.
        """

        def fill(event: gr.EventData, told: Told, *given: Any) -> list[Any]:
            try:
                values = make(event, *given)
            except Failure as failure:
                raise gr.Error(escape(f"{failure.what} {failure.mend}"), print_exception=False) from None
            settings, cleared = learning_from(self.form.readable(told), values)
            sentences = said(f"The Image folder is now {values[IMAGES]}. Press Check to see what it holds.", cleared)
            return self._shown(settings, sentences, told, "Undo the Image folder")

        event(fill, [self.form.shown, *inputs], shown, **SILENT).success(None, None, None, js=TO_IMAGES, **SILENT)

    def _reset(self, told: Told) -> list[Any]:
        settings = TrainingSettings().for_method(self.form.readable(told).method)
        return self._shown(settings, said("The form has been reset to the defaults."), told, "Undo Reset")

    def _demo(self, told: Told) -> list[Any]:
        settings = with_free_name(write_demo(runs_root().with_name("demo")))
        sentences = said("Filled in with the built-in model and its pictures. Now press Start training.")
        return self._shown(settings, sentences, told, "Undo Try it now")

    def _changed(self, preset: str | None, told: Told) -> list[Any]:
        """All that follows the form: the steps, what the browser keeps, what differs, what the preset would change, and
        the stamp by which the page sees what else was made from another state of it.
        """
        settings, stamp = self.form.readable(told), stamp_of(self.form, told)
        return [
            self._steps_line(told),
            written(settings.parted_from_secrets()[0].model_dump(mode="json")),
            changed_table(settings),
            stamped(preview(preset, settings), stamp),
            stamp,
        ]

    def _steps_line(self, told: Told) -> Sentences:
        """The arithmetic of the steps, or nothing where the pictures cannot be counted yet."""
        try:
            plan = plan_here(self.form.settings(told))
        except BadValues:
            return NOTHING
        return said(plan.arithmetic()) if plan else NOTHING

    # ── check, mend, start ────────────────────────────────────────────────────────────────────────

    def _check(self, told: Told) -> list[Any]:
        try:
            checked = check(self.form.settings(told))
        except BadValues as error:
            checked = bad_values(error)
        return self._findings(checked, told)

    def _findings(self, checked: Checked, told: Told) -> list[Any]:
        fixes = [problem.fix for problem in mendable(checked.problems)]
        button = gr.update(value=fixes[0] if fixes else "", visible=bool(fixes))
        shown = stamped(findings_html(checked, self.form), stamp_of(self.form, told))
        return [[p.as_plain() for p in checked.problems], shown, button]

    def _mend(self, problems: list[dict[str, Any]], told: Told) -> list[Any]:
        problem = next(iter(mendable([Problem(**plain) for plain in problems])), None)
        if problem is None:
            return self._shown(None, NOTHING)
        try:
            settings = mended(problem, self.form.settings(told))
        except (BadValues, OSError) as error:
            return self._shown(None, refused("Not done.", error))
        return self._shown(settings, NOTHING, told)

    def _start(self, told: Told) -> list[Any]:
        try:
            settings = self.form.settings(told)
        except BadValues as error:
            return [*self._findings(bad_values(error), told), gr.skip()]
        busy = busy_problem()
        if busy is not None:
            return [*self._findings(Checked([busy], None), told), gr.skip()]
        checked, run = begin(settings)
        if run is None:
            return [*self._findings(checked, told), gr.skip()]
        return [*NO_FINDINGS, self.panel.choose(run)]
