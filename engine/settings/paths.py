"""Paths as people type them, made into paths that mean the same everywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeVar

from engine.settings.option import Option
from engine.settings.values import JobSettings

Some = TypeVar("Some", bound=JobSettings)

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
"""The hub allows letters, digits, and . _ - in both names."""

MODEL_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth")


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
    looks_like_path = path.is_absolute() or name[0] in ".~" or "\\" in name or path.suffix in MODEL_ENDINGS
    return bool(_HUB_NAME.fullmatch(name)) and not looks_like_path


def _whole(item: Option, text: str) -> str:
    if item.widget not in ("path", "folder", "file"):
        return text
    bare, path = _bare(text), typed_path(text)
    # What may be a name of the hub as well is taken for a path only where something lies there.
    if not bare or (item.widget == "path" and not _exists(path)):
        return bare
    return str(path if path.is_absolute() else Path.cwd() / path)


def _bare(text: str) -> str:
    return text.strip().strip('"').strip()


def why_unusable(text: str) -> str:
    """Why a text cannot even be looked for on the disk, in words that follow the option's label; "" where it can."""
    try:
        typed_path(text).stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except ValueError:
        return "holds a character that no path can have"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    return ""


def _exists(path: Path) -> bool:
    return not why_unusable(str(path)) and path.exists()
