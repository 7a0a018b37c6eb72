"""Utilities: small tools beside training."""

from __future__ import annotations

import json

import gradio as gr

from engine.settings.paths import typed_path
from engine.tools.lora_metadata import read_metadata


def draw() -> None:
    with gr.Tabs(), gr.Tab("LoRA metadata", id="utility-lora-metadata"):
        gr.Markdown("What a trained file says about itself: how it was made, from which pictures, and when.")
        with gr.Row():
            path = gr.Textbox(label="LoRA file (.safetensors)", elem_id="metadata-path", scale=4)
            show = gr.Button("Show", elem_id="metadata-show", min_width=90)
        said = gr.Markdown()
        table = gr.Code(language="json", label="Metadata", elem_id="metadata", interactive=False)
    for event in (show.click, path.submit):
        event(_show, [path], [said, table], show_progress="hidden", api_visibility="private")


def _show(path: str) -> tuple[str, str]:
    try:
        metadata = read_metadata(typed_path(path))
    except ValueError as error:
        return f"**{error}**", ""
    return f"{len(metadata)} entries.", json.dumps(metadata, indent=2, ensure_ascii=False)
