"""About: what this is, and on what it runs."""

from __future__ import annotations

import platform
from html import escape
from importlib.metadata import PackageNotFoundError, version

import gradio as gr

from engine.runs.folder import runs_root

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "bitsandbytes", "safetensors", "gradio")


def draw() -> None:
    rows = "\n".join(f"| {name} | {_version(name)} |" for name in LIBRARIES)
    gr.Markdown(
        "## Darkroom\n\n"
        "Trains diffusion models on your own machine. Tabs, words and settings files are those of kohya_ss."
    )
    gr.HTML(
        f"<p>Runs are kept in <code>{escape(str(runs_root()))}</code>. A run goes on when this page is closed, "
        "reloaded or stopped; open it again to see the run with its whole history.</p>",
        padding=False,
    )
    gr.Markdown(
        f"""| part | version |
|---|---|
| Python | {platform.python_version()} on {platform.system()} {platform.machine()} |
{rows}

Apache License 2.0."""
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
