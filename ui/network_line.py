"""What the network will be: on how many layers, how many parameters, how large a file, as the form is filled in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.settings.families import TITLES
from engine.settings.network import RANKED_BY_MATRIX
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from ui.form import SILENT, Form, Told
from ui.sentences import NOTHING, Sentences, refused, said

ROOT = Path(__file__).parents[1]

OF_NETWORKS = {"network", "lycoris", "blocks", "flux_ranks"}
"""Groups of options that say what the network is."""

ASKED = {*OF_NETWORKS, "method", "flux", "families", "source_model", "optimizer"}
"""Those, and what it is put on."""

PATIENCE = 600
"""Seconds without a question after which the process that counts ends."""

LONGEST_ANSWER = 60
"""Seconds, most of them for a model's lists on a slow disk."""

MANY = 0.1
"""Share of the layers that are narrower than the rank from which on that is worth a word."""


class NetworkLine:
    """Draws itself within gr.Blocks."""

    def __init__(self, form: Form[TrainingSettings]) -> None:
        self._form, self._process = form, CountingProcess()

    def draw(self) -> None:
        self.shown = gr.HTML(elem_id="network-size")

    def connect(self) -> None:
        form = self._form.shown
        form.edited(self._line, [form], [self.shown], trigger_mode="always_last", queue=False, **SILENT)

    def _line(self, told: Told) -> Sentences:
        try:
            settings = self._form.settings(told)
        except BadValues:
            return NOTHING
        if not settings.trains_network or not settings.source_model.pretrained_model_name_or_path:
            return NOTHING
        answer = self._process.ask(settings.model_dump_json(include=ASKED))
        return NOTHING if answer is None else Sentences(line_of(answer, settings) + blocks_of(answer))


def line_of(answer: dict[str, Any], settings: TrainingSettings) -> Sentences:
    """answer: see engine.training.counting."""
    if "failure" in answer:
        ours = next((item.path[0] for item in settings.options() if item.name == answer["option"]), "") in OF_NETWORKS
        return refused("The network:", answer["failure"]) if ours else NOTHING  # of the model, Check speaks
    layers, of = answer["layers"], answer["of"]
    if not layers:
        return refused("The network:", "no layer is trained.")
    share = f"{layers}" if layers == of else f"{layers} of {of}"
    size = f"{_numbers(answer['parameters'])}, a file of {_bytes(answer['file'])}"
    words = f"The network: {share} layer{'s' * (of != 1)}, {size}."
    if answer["usual"]:
        words = f"{words[:-1]}, at the usual size of {TITLES[settings.family()]}."
    narrow = answer["too_narrow"]
    if settings.network.lora_type in RANKED_BY_MATRIX and narrow > MANY * layers:
        words += f" {narrow} of the layers have fewer rows or columns than their rank, which then adds nothing."
    return said(words)


def blocks_of(answer: dict[str, Any]) -> Sentences:
    """How many blocks the chosen model has, for the block editor."""
    blocks = json.dumps(answer.get("blocks", {}), separators=(",", ":"))
    return Sentences(f'<span hidden data-blocks="{escape(blocks)}"></span>')


def _numbers(count: int) -> str:
    for size, word in ((1e9, "billion "), (1e6, "million ")):
        if count >= size:
            return f"{count / size:.3g} {word}parameters"
    return f"{count:,} parameters"


def _bytes(size: int) -> str:
    for unit, name in ((2**30, "GB"), (2**20, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 2**10:.0f} KB"


class CountingProcess:
    """`python -m engine count`, for the page has no torch.  Started with the first question, ended when none come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._last: tuple[str, dict[str, Any] | None] = ("", None)
        self._rest = threading.Timer(PATIENCE, self.end)

    def ask(self, question: str) -> dict[str, Any] | None:
        """None where it cannot answer."""
        with self._lock:
            if question != self._last[0] or self._last[1] is None:
                self._last = question, self._asked(question)
            self._rest.cancel()
            self._rest = threading.Timer(PATIENCE, self.end)
            self._rest.daemon = True
            self._rest.start()
            return self._last[1]

    def end(self) -> None:
        with self._lock:
            if self._process:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _asked(self, question: str) -> dict[str, Any] | None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine", "count"], cwd=ROOT, text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},  # what is typed is nothing to ask the hub
            )  # fmt: skip
        process = self._process
        assert process.stdin
        assert process.stdout
        # Ends it where no answer comes, so that the line that is waited for is an empty one.
        deadline = threading.Timer(LONGEST_ANSWER, process.kill)
        deadline.start()
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
        except (OSError, ValueError):  # it was ended
            return None
        finally:
            deadline.cancel()
        return answer
