"""What the browser keeps: on reload, each page shows what it showed; a new one, the latest of any."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ui.form import SILENT

TAKE = """() => {
  const key = KEY;
  try {
    const text = sessionStorage.getItem(key) ?? localStorage.getItem(key);
    if (text !== null) sessionStorage.setItem(key, text);
    return text ?? "";
  } catch {
    return "";
  }
}"""
"""From now on the page has its own copy, even if it has not stored anything yet.  A browser may refuse to store."""

KEEP = """(text) => {
  const key = KEY;
  try {
    for (const storage of [sessionStorage, localStorage]) storage.setItem(key, text);
  } catch {}
}"""


class Kept:
    """Construct it within gr.Blocks.  Handlers fill `text` with written(…), which is stored at once.

    Gradio's BrowserState has one place for all pages of a browser: on reload, each would show another's state.
    """

    def __init__(self, name: str) -> None:
        self._key = json.dumps(f"darkroom-{name}")
        self.text = gr.Textbox(visible="hidden")
        self.text.change(None, [self.text], None, js=KEEP.replace("KEY", self._key), **SILENT)

    def when_loaded(self, blocks: gr.Blocks, fill: Callable[[Any], Any], outputs: Sequence[Any]) -> Any:
        """Whenever the page is loaded, fill the outputs with `fill` of what is kept, None for nothing."""

        def filled(text: str) -> Any:
            return fill(read(text))

        return blocks.load(filled, [self.text], outputs, js=TAKE.replace("KEY", self._key), **SILENT)


def written(value: Any) -> str:
    return json.dumps(value)


def read(text: str) -> Any:
    """None for nothing, and for invalid JSON: it comes from the browser, so it may be anything."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
