"""Folders and files of the server's disk to choose from, beside fields that take a path: within some roots only.

Whoever reaches the page can type any path; what stands in folders is shown of those alone in which people keep
their pictures and models.
"""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Any

import gradio as gr

from engine.disk import why_not
from engine.runs.folder import runs_root
from engine.settings.paths import typed_path, why_unusable
from ui.form import SILENT

VARIABLE = "DARKROOM_ROOTS"
"""Folders, separated as in PATH, that are shown in place of the usual ones."""

USUAL = ("/workspace", "/mnt", "/media", "/run/media", "/Volumes")
"""Where systems have other disks, and rented machines their own."""

MOST_SHOWN = 2000
"""Entries of a folder."""

JS = "darkroom.picks({ props, watch, ask: (folder, number) => trigger('asked', { folder, number }) })"


def draw() -> None:
    """One for the whole page; the page's script opens it beside a field."""
    shown = gr.HTML({}, html_template="", js_on_load=JS, visible="hidden")
    shown.asked(_asked, None, [shown], queue=False, **SILENT)


def roots() -> list[Path]:
    """The folders below which everything is shown, links followed."""
    said = os.environ.get(VARIABLE)
    if said:
        wanted = [Path(one) for one in said.split(os.pathsep) if one]
    else:
        drives = [Path(f"{letter}:\\") for letter in string.ascii_uppercase] if os.name == "nt" else []
        wanted = [Path.home(), runs_root().parent, *map(Path, USUAL), *drives]
    return list(dict.fromkeys(one.resolve() for one in wanted if one.is_dir()))


def listing(path: str) -> dict[str, Any]:
    """What stands in a folder: {"folder", "up": the one around it or "", "folders": names, "files": names,
    "problem": a sentence or ""}; around a file, its folder; where there is none to be shown, the roots, as paths.

    Hidden entries are left out, and links that lead out of the roots.  No key is "path", by which Gradio knows files.
    """
    allowed = roots()
    folder = _nearest(path, allowed)
    if folder is None:
        problem = "" if not path.strip() else "This folder cannot be browsed here, but you can type its path."
        return {"folder": "", "up": "", "folders": [str(root) for root in allowed], "files": [], "problem": problem}
    folders: list[str] = []
    files: list[str] = []
    problem = ""
    try:
        for entry in sorted(os.scandir(folder), key=lambda one: one.name.casefold()):
            if entry.name.startswith(".") or (entry.is_symlink() and not _is_within(Path(entry.path), allowed)):
                continue
            (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        problem = f"The folder cannot be read: {why_not(error)}."
    if len(folders) + len(files) > MOST_SHOWN:
        problem = f"Only {MOST_SHOWN:,} of {len(folders) + len(files):,} entries are shown."
        folders = folders[:MOST_SHOWN]
        files = files[: MOST_SHOWN - len(folders)]
    up = str(folder.parent) if folder not in allowed and _is_within(folder.parent, allowed) else ""
    return {"folder": str(folder), "up": up, "folders": folders, "files": files, "problem": problem}


def _nearest(path: str, allowed: list[Path]) -> Path | None:
    """The folder itself, or the innermost around the path that there is; None outside the roots."""
    if not path.strip() or why_unusable(path):
        return None
    try:
        wanted = typed_path(path).absolute()
        there = next(one for one in (wanted, *wanted.parents) if one.is_dir()).resolve()
    except (OSError, ValueError, StopIteration):
        return None
    return there if _is_within(there, allowed) else None


def _is_within(path: Path, allowed: list[Path]) -> bool:
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        return False
    return any(real.is_relative_to(root) for root in allowed)


def _asked(event: gr.EventData) -> dict[str, Any]:
    told = event._data
    path, number = (told.get("folder"), told.get("number")) if isinstance(told, dict) else ("", 0)
    # The number makes each answer another one than the last, else the page would not see that it has come.
    return listing(path if isinstance(path, str) else "") | {"asked": number if isinstance(number, int) else 0}
