"""Paths as people type them, made into paths that mean the same everywhere."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TypeVar

from engine.settings.option import Option
from engine.settings.values import JobSettings

Some = TypeVar("Some", bound=JobSettings)

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
"""The hub allows letters, digits, and . _ - in both names."""

MODEL_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth")

THIS_SYSTEM = {"win32": "Windows", "darwin": "macOS"}.get(sys.platform, "Linux")

_OF_WINDOWS = re.compile(r"[A-Za-z]:([\\/]|$)|\\\\|%\w+%|~\\")
"""A drive, a share, a variable, or the home folder, as only Windows writes them."""

_TOP_FOLDERS = {
    "/Users": "macOS", "/Volumes": "macOS", "/content": "Google Colab", "/kaggle": "Kaggle", "/workspace": "RunPod",
}  # fmt: skip
"""What paths begin with that are of a machine which has such a folder."""


def typed_path(text: str) -> Path:
    """A path from a text field: quotes and blanks around it taken off, ~ meaning the home folder."""
    return Path(os.path.expanduser(_bare(text)))


def with_whole_paths(settings: Some) -> Some:
    """The settings with every path from the root of the disk on, whatever folder the engine will run in."""
    changes = {
        item.name: whole
        for item in settings.options()
        if (text := item.value_in(settings)) and (whole := _whole(item, text)) != text
    }
    return settings.with_values(changes) if changes else settings


def is_hub_name(name: str) -> bool:
    """Whether a text reads as OWNER/MODEL of the Hugging Face hub rather than as a path."""
    path = Path(name)
    looks_like_path = path.is_absolute() or name.startswith((".", "~")) or "\\" in name or path.suffix in MODEL_ENDINGS
    return bool(_HUB_NAME.fullmatch(name)) and not looks_like_path


def system_of(text: str, beside: Path = Path()) -> str:
    """Of which other system, or kind of machine, a path is: settings files go from hand to hand. "" for one of ours.

    beside: where a path begins that does not begin at the root of a disk.
    """
    bare = _bare(text)
    top = "/" + bare.split("/")[1] if bare.startswith("/") else ""
    if THIS_SYSTEM == "Windows":  # where "/data" is a folder of the drive in use
        return _TOP_FOLDERS.get(top, "Linux or macOS") if top not in ("", "/") and not os.path.exists(top) else ""
    if top:
        return _TOP_FOLDERS.get(top, "") if not os.path.exists(top) else ""
    # Whatever lies in a folder named "C:" here, nobody meant that one.
    if _OF_WINDOWS.match(bare) or ("\\" in bare and not bare.startswith("~/") and not os.path.exists(beside / bare)):
        return "Windows"
    return ""


def _whole(item: Option, text: str) -> str:
    if item.widget not in ("path", "folder", "file"):
        return text
    bare, path = _bare(text), typed_path(text)
    if system_of(bare):
        return bare
    # What may be a name of the hub as well is taken for a path only where something lies there.
    if not bare or (item.widget == "path" and not _exists(path)):
        return bare
    return str(path if path.is_absolute() else Path.cwd() / path)


def _bare(text: str) -> str:
    return text.strip().strip('"').strip()


def why_unusable(text: str, beside: Path = Path()) -> str:
    """Why a text cannot even be looked for on the disk, in words that follow the option's label; "" where it can.

    beside: where a path begins that does not begin at the root of a disk.
    """
    try:
        if system := system_of(text, beside):
            other = f'is "{_bare(text)}", which is a {system} path, but this is {THIS_SYSTEM}'
            return f"{other}: it comes from another machine"
        (beside / typed_path(text)).stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except ValueError:
        return "holds a character that no path can have"
    except OSError as error:
        return f"cannot be accessed: {error.strerror}"
    return ""


def _exists(path: Path) -> bool:
    return not why_unusable(str(path)) and path.exists()


def mend_unusable(text: str) -> str:
    """The next move after why_unusable()."""
    return "Enter the path on this machine." if system_of(text) else "Correct the path."


def usable_path(label: str, text: str) -> Path:
    """typed_path(), for what is opened or written at once.  Raises ValueError with a sentence about `label`."""
    if why := why_unusable(text):
        raise ValueError(f"{label} {why}. {mend_unusable(text)}")
    return typed_path(text)
