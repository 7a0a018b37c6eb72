"""What was found belongs to the form that was checked, and goes with it."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from ui.training_tab import NO_FINDINGS, TrainingTab


def test_whatever_fills_the_form_anew_takes_the_findings_away(tab: TrainingTab, tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps({"epoch": 3}))
    click = gr.EventData(None, {"option": "dreambooth"})
    for answer in (tab._load(str(tmp_path / "a.json"), {}), tab._reset({}), tab._demo({}), tab._to_method({}, click)):
        assert tuple(answer[-3:]) == NO_FINDINGS


def test_what_is_refused_leaves_them(tab: TrainingTab, tmp_path: Path):
    for answer in (tab._load(str(tmp_path / "gone.json"), {}), tab._mend([], {})):
        assert answer[-3:] == [gr.skip()] * 3
