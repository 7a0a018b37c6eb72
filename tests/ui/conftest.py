"""What tests of the page share."""

from __future__ import annotations

import gradio as gr
import pytest

from ui.training_tab import TrainingTab


@pytest.fixture(scope="module")
def tab() -> TrainingTab:
    with gr.Blocks():
        drawn = TrainingTab()
        drawn.draw()
    return drawn
