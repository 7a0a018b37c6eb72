"""What stands in a file is text on the page, and never markup."""

from __future__ import annotations

import gradio as gr
import pytest

from engine.begin import CannotResume
from tests.ui.told import told_by
from ui import runs_panel
from ui.page import build
from ui.sentences import NOTHING, listed, refused, said
from ui.training_tab import TrainingTab

FOREIGN = "![a](http://far/p.png) <img src=http://far/q.png><style>*{display:none}</style> ``` &"
AS_TEXT = "![a](http://far/p.png) &lt;img src=http://far/q.png&gt;&lt;style&gt;*{display:none}&lt;/style&gt; ``` &amp;"


def test_sentences_hold_no_markup_but_their_own():
    assert said(FOREIGN, [FOREIGN, "more"]) == f"<p>{AS_TEXT}</p><ul><li>{AS_TEXT}</li><li>more</li></ul>"
    assert refused("Not loaded.", FOREIGN) == f"<p><b>Not loaded.</b> {AS_TEXT}</p>"
    assert listed([]) == NOTHING


def test_no_event_fills_a_component_that_reads_markdown():
    page = build()
    filled = [block for function in page.fns.values() for block in function.outputs]
    assert len(filled) > 100
    assert not [block.elem_id for block in filled if isinstance(block, gr.Markdown)]


def test_messages_that_pop_up_hold_no_markup_either(monkeypatch: pytest.MonkeyPatch):
    """Gradio shows them as HTML."""
    with gr.Blocks():
        tab = TrainingTab()
        tab.draw()
    with pytest.raises(gr.Error) as refusal:
        tab._download(told_by(tab.form, epoch=FOREIGN))
    assert "<" not in refusal.value.message

    def cannot(run: object) -> None:
        raise CannotResume(FOREIGN)

    shown: list[str] = []
    monkeypatch.setattr(gr, "Warning", shown.append)
    monkeypatch.setattr(runs_panel, "_run", lambda name: object())
    monkeypatch.setattr(runs_panel, "busy_problem", lambda: None)
    monkeypatch.setattr(runs_panel, "resume", cannot)
    runs_panel._resume("a run")
    assert shown == [AS_TEXT]
