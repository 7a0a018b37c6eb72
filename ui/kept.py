"""What the browser keeps: loaded anew, each page shows what it showed itself; a new one, what was said last in any."""

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
"""From now on the page has its own, also where it has not said anything yet.  A browser may refuse to keep anything."""

KEEP = """(text) => {
  const key = KEY;
  try {
    for (const storage of [sessionStorage, localStorage]) storage.setItem(key, text);
  } catch {}
}"""


class Kept:
    """Construct it within gr.Blocks.  Handlers fill `text` with written(…); what is written there is kept at once.

    Gradio's BrowserState has one place for all pages of a browser: loaded anew, each would show what another said.
    """

    def __init__(self, name: str) -> None:
        self._key = json.dumps(f"darkroom-{name}")
        self.text = gr.Textbox(visible="hidden")
        self.text.change(None, [self.text], None, js=KEEP.replace("KEY", self._key), **SILENT)

    def when_loaded(self, blocks: gr.Blocks, fill: Callable[[Any], Any], outputs: Sequence[Any]) -> Any:
        """Have `fill` make the outputs' values of what is kept, None for nothing, whenever the page is loaded."""

        def filled(text: str) -> Any:
            return fill(read(text))

        return blocks.load(filled, [self.text], outputs, js=TAKE.replace("KEY", self._key), **SILENT)


def written(value: Any) -> str:
    return json.dumps(value)


def read(text: str) -> Any:
    """None for nothing, and for what is not JSON: it comes from the browser, so it may be anything."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
