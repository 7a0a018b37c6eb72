"""How much memory the settings would need, as a bar next to what is available, and ways to reduce it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.free_memory import room
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from ui.form import SILENT, Form, Told
from ui.sentences import Sentences, refused, said
from ui.stamps import stamp_of, stamped

ROOT = Path(__file__).parents[1]
GIB = 2**30
PARTS = {
    "weights": "model", "network": "network", "gradients": "gradients", "optimizer": "optimizer",
    "activations": "activations", "program": "program",
}  # fmt: skip
PHASES = {
    "loading": "loading the model", "latents": "encoding pictures", "captions": "encoding captions",
    "training": "training", "validation": "measuring the validation loss", "samples": "drawing samples",
    "saving": "saving the model",
}  # fmt: skip

WITHOUT_EFFECT = {"folders", "metadata", "logging", "saving", "huggingface", "kohya_extra"}
"""Groups of options that do not affect memory."""


class MemoryPanel:
    """Draws itself within gr.Blocks.  The estimate runs in a separate process, because the page has no torch."""

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form = form
        self._known: dict[str, dict[str, Any]] = {}

    def draw(self) -> None:
        with gr.Accordion("How much memory?", open=False, elem_id="memory-fold") as self.fold:
            self.shown = gr.HTML(elem_id="memory", js_on_load=WAY_CLICKS)
            self.ask = gr.Button("Estimate again", elem_id="ask-memory", size="sm", min_width=120)

    def connect(self) -> None:
        form = self._form.shown
        options: dict[str, Any] = {**SILENT, "concurrency_limit": 1, "concurrency_id": "memory"}
        for event in (self.fold.expand, self.ask.click):
            event(self._estimate, [form], [self.shown], **options)
        self.shown.click(self._apply, [form], [form], **SILENT).then(self._estimate, [form], [self.shown], **options)
        # With a GPU the estimate runs as soon as a model is chosen: that it does not fit would be noticed last.
        form.chosen(self._unasked, [form], [self.fold, self.shown], trigger_mode="always_last", **options)

    def _unasked(self, told: Told) -> Iterator[Any]:
        if room(self._form.readable(told).hardware.first_gpu()).device == "cuda":
            for shown in self._estimate(told):
                yield [gr.update(open=True), shown]
        else:
            yield [gr.skip(), gr.skip()]

    def _estimate(self, told: Told) -> Iterator[Sentences]:
        stamp = stamp_of(self._form, told)
        for shown in self._estimated(told):
            yield stamped(shown, stamp)

    def _estimated(self, told: Told) -> Iterator[Sentences]:
        try:
            settings = self._form.settings(told)
        except BadValues as error:
            yield refused("Not estimated.", error)
            return
        if not settings.source_model.pretrained_model_name_or_path:
            yield refused("Not estimated.", "Choose a model first.")
            return
        key = settings.model_dump_json(exclude=WITHOUT_EFFECT) + settings.folders.dataset_config
        if key in self._known:
            here = asdict(room(settings.hardware.first_gpu()))  # free memory changes
            yield memory_html(self._known[key] | {"room": here})
            return
        yield said("Estimating…")
        found = {}
        for found in asked(settings):
            yield refused("Not estimated.", found["failure"]) if "failure" in found else memory_html(found)
        if "failure" not in found:
            self._known[key] = found

    def _apply(self, told: Told, click: gr.EventData) -> Told:
        """Apply the changes of the clicked button."""
        changes: dict[str, Any] = json.loads(click.way)
        return self._form.set(told, {name: value for name, value in changes.items() if name in self._form.options})


def asked(settings: TrainingSettings) -> Iterator[dict[str, Any]]:
    """The output of `python -m engine estimate --json` for the settings, with more "ways" each time; {"failure": a
    sentence} if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.json"
        file.write_text(settings.parted_from_secrets()[0].model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "engine", "estimate", str(file), "--json"]
        found: dict[str, Any] = {}
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                for line in process.stdout or ():
                    said = json.loads(line)
                    found = {**found, "ways": [*found["ways"], said]} if found else {"ways": [], **said}
                    yield found
            except (OSError, ValueError):
                pass
            finally:
                process.kill()
        if not found:
            yield {"failure": "The size of the model's parts could not be determined."}


def memory_html(found: dict[str, Any]) -> Sentences:
    """found: an item from asked()."""
    here, phase = found["room"], found["phases"][found["fullest"]]
    sizes = {part: phase.get(part, found["program"]) for part in PARTS}
    total = sum(sizes.values())
    fits = total <= here["free"]
    whole = max(total, here["total"])
    bars = "".join(
        f'<i class="{part}" style="width:{100 * size / whole:.2f}%" title="{words}: {_gib(size)}"></i>'
        for (part, words), size in zip(PARTS.items(), sizes.values(), strict=True)
    )
    legend = "".join(
        f'<span class="{part}">{words} {_gib(size)}</span>'
        for (part, words), size in zip(PARTS.items(), sizes.values(), strict=True)
        if size >= total / 200
    )
    verdict = "" if fits else " <b>It will not fit.</b>"
    ways = sorted(found["ways"], key=lambda way: -way["saves"])
    buttons = "".join(
        f'<button class="way" data-way="{escape(json.dumps(way["changes"]))}">{escape(way["words"])}: '
        f"−{_gib(way['saves'])}</button>"
        for way in ways
    )
    return Sentences(
        f'<div class="memory {"fits" if fits else "too-much"}">'
        f"<p>Needs about <b>{_gib(total)}</b> of {escape(here['name'])} at its peak, while "
        f"{PHASES[found['fullest']]}; {_gib(here['free'])} of {_gib(here['total'])} is free.{verdict}</p>"
        f'<div class="memory-bar">{bars}<u style="left:{100 * here["free"] / whole:.2f}%" title="free now"></u></div>'
        f'<div class="memory-legend">{legend}</div><div class="ways">{buttons}</div></div>'
    )


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GB" if size >= GIB / 10 else f"{size / 2**20:.0f} MB"


WAY_CLICKS = """element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-way]');
  if (button) trigger('click', { way: button.dataset.way });
});"""
