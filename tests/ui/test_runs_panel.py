"""The run beside the form: what is sent to the page when it looks."""

from __future__ import annotations

import gradio as gr
import pytest

from engine.runs.events import Finished
from engine.runs.folder import RunFolder
from ui.runs_panel import RunsPanel


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch, tmp_path) -> RunsPanel:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    with gr.Blocks():
        drawn = RunsPanel()
        drawn.draw()
    return drawn


def is_skipped(update: object) -> bool:
    return update == gr.skip()


def test_an_answer_that_comes_late_is_made_good_at_the_next_look(panel: RunsPanel):
    """The page says what it shows: after an old answer has overtaken a new one, it is sent the new one again."""
    run = RunFolder.create("train", "{}", "heart")
    early = panel.tick(run.name, None)
    run.writer().write(Finished(how="stopped"))
    late = panel.tick(run.name, early[0])
    resume = panel.outputs.index(panel.resume)
    assert late[resume] == gr.update(visible=True)
    assert all(is_skipped(update) for update in panel.tick(run.name, late[0]))
    assert panel.tick(run.name, early[0])[resume] == gr.update(visible=True)
    assert isinstance(panel.seen, gr.Textbox)  # a State is the server's, and would say that the new one is shown


def test_a_run_that_is_gone_leaves_nothing(panel: RunsPanel):
    assert all(is_skipped(update) for update in panel.tick("gone", ""))
    assert panel.tick("gone", '["gone", 1, "stopped", false, 0, 0]')[0] == ""
