"""A drop zone for a folder of pictures: its files are uploaded, and kept next to the runs.

Browsers do not reveal the path of what is dropped. ui/assets/drop.js reads the folder and uploads what is wanted of it;
what it sends is not trusted.
"""

from __future__ import annotations

from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from engine.failure import Failure
from engine.runs.report import shown_name
from engine.tools.dropped import TAKEN, Dropped, keep_dropped, pictures_root
from ui.sentences import Sentences

AGAIN = "Drop the folder again."


def drop_zone() -> gr.HTML:
    """Its upload event says what was dropped, for kept()."""
    return gr.HTML(
        _zone(),
        elem_id="dataset-drop",
        js_on_load="darkroom.takesFolders(element, upload, trigger)",
        padding=False,
    )


def kept(event: gr.EventData) -> Dropped:
    """The result of keep_dropped() for the uploaded files, which are then removed.  Raises Failure."""
    files = _files(event._data)
    try:
        return keep_dropped(files)
    finally:
        for _, file in files:
            if file:
                with suppress(OSError):
                    file.unlink()
                    file.parent.rmdir()  # Gradio makes a folder for each content


def _files(told: Any) -> list[tuple[str, Path | None]]:
    """Names and uploaded files; a request could name any other file.  Raises Failure."""
    try:
        return [(str(name), _uploaded(path) if path else None) for name, path in told["files"]]
    except (TypeError, KeyError, ValueError) as error:
        raise Failure("What was dropped could not be read.", AGAIN) from error


def _uploaded(path: str) -> Path:
    file = Path(path).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()):
        raise Failure(f"{shown_name(file)} was not uploaded.", AGAIN)
    return file


def _zone() -> Sentences:
    title = escape(
        "A folder of pictures and captions on your computer, including its sub-folders. "
        f"It will be copied to {shown_name(pictures_root())}. Click to choose one.",
        quote=True,
    )
    return Sentences(
        f'<label class="dataset-drop" title="{title}" data-endings="{escape(" ".join(TAKEN), quote=True)}">'
        '<input type="file" webkitdirectory aria-label="Choose a folder of pictures">'
        '<span aria-live="polite">or drop a folder here</span><button type="button" hidden>Stop</button></label>'
    )
