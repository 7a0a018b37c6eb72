"""The page: its tabs, its looks, and the scripts that go to fields and mark them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ui import blocks, picker, search
from ui.training_tab import TrainingTab

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("stream.js", "page.js", "form.js", "blocks.js", "search.js", "drop.js", "large.js", "picker.js")
SYSTEM_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]


FOR_PROGRAMS = ("api_info", "api_info_as_input", "api_info_as_output", "example_inputs", "skip_api")
"""Gradio's descriptions of each component for API clients, which this page does not have."""


MASTHEAD = f"""<header class="masthead"><h1>Darkroom</h1><span>train diffusion models, and watch them learn</span>
{search.BOX}
<select id="theme" aria-label="Theme"><option value="">System theme</option><option value="light">Light</option>
<option value="dark">Dark</option></select></header>"""

OF_NO_EVENT_HERE = ("batch", "max_batch_size", "scroll_to_output", "stream_every")
"""Properties of Gradio's events that no event of this page uses."""

SHORT = 8
"""Characters kept of the 64 that identify a kind of component to the browser; there are some twenty kinds."""


class Page(gr.Blocks):
    """Blocks whose configuration, loaded first by every browser, only contains what a browser needs: two thirds."""

    def get_config_file(self) -> Any:
        config = super().get_config_file()
        for component in config["components"]:
            for name in FOR_PROGRAMS:
                component.pop(name, None)
            component["props"].pop("preserved_by_key", None)  # only for re-rendered components, of which there are none
            component["component_class_id"] = component["component_class_id"][:SHORT]
        for event in config["dependencies"]:
            for name in [name for name, value in event.items() if value is None or name in OF_NO_EVENT_HERE]:
                del event[name]  # a missing value and a null mean the same to the browser
        return config


def build(start_file: Path | None = None, notice: str = "") -> gr.Blocks:
    """The whole page.  start_file: settings that the form starts with.  notice: shown to everyone."""
    with Page(title="Darkroom", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(MASTHEAD, elem_id="masthead")
        if notice:
            gr.HTML(f'<p class="notice" role="note">{escape(notice)}</p>', elem_id="notice", padding=False)
        picker.draw()
        training = TrainingTab(start_file)
        training.draw()
        training.connect(page)
    return page


def looks() -> dict[str, Any]:
    """Theme, styles and scripts, as launch() takes them.  All are local: the page loads nothing from elsewhere."""
    theme = gr.themes.Base(
        primary_hue="red",
        neutral_hue="stone",
        font=SYSTEM_FONT,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    ).set(  # Gradio's own are too pale to read: 3.8 and less where 4.5:1 is asked for
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_border_color="*primary_600",
        block_info_text_color="*neutral_600",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_300",
    )
    scripts = "".join(f"<script>{_bare(name)}</script>" for name in SCRIPTS)
    return {
        "theme": theme,
        "css": _bare("page.css"),
        "head": search.embedded() + blocks.embedded() + scripts,
    }


def _bare(name: str) -> str:
    """A script or styles without what is for people alone: indents, and lines that are comments."""
    lines = (line.strip() for line in (ASSETS / name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))
