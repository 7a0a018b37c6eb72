"""About: what this is, and what it runs on."""

from __future__ import annotations

import platform
from html import escape
from importlib.metadata import PackageNotFoundError, version

import gradio as gr

from engine import VERSION
from engine.runs.folder import runs_root

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "bitsandbytes", "safetensors", "gradio")


def draw() -> None:
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    versions = {"Python": system, **{name: _version(name) for name in LIBRARIES}}
    rows = "".join(f"<tr><td>{name}</td><td>{escape(told)}</td></tr>" for name, told in versions.items())
    gr.HTML(
        f"<h2>Darkroom {VERSION}</h2>"
        "<p>Trains diffusion models on your own machine. Tabs, terms and settings files match kohya_ss.</p>"
        f"<p>Runs are kept in <code>{escape(str(runs_root()))}</code>. A run keeps going when this page is "
        "closed, reloaded or stopped; open it again to see the run with its full history.</p>"
        f"<table><thead><tr><th>component</th><th>version</th></tr></thead><tbody>{rows}</tbody></table>"
        "<p>Apache License 2.0.</p>",
        elem_classes="prose",
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
