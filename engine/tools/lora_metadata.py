"""Reads what a .safetensors file says about itself, without its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST_HEADER = 100 * 2**20
"""Bytes; safetensors' own limit."""


def read_metadata(file: Path) -> dict[str, str]:
    """The metadata by key, each value as the text that stands in the file.

    Raises ValueError with a sentence for people where the file is none of this format.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= LONGEST_HEADER:
                raise ValueError(f"{file.name} is not a .safetensors file.")
            header = json.loads(stream.read(length))
        metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
        if not isinstance(metadata, dict):
            raise ValueError(f"{file.name} has metadata of another form than .safetensors files have.")
    except FileNotFoundError:
        raise ValueError(f"There is no file {file}.") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"{file.name} is not a .safetensors file, or is cut off.") from None
    return {_whole(key): _whole(value) for key, value in sorted(metadata.items())}


def unfolded(metadata: Mapping[str, str]) -> dict[str, Any]:
    """For people: values that hold JSON, such as ss_tag_frequency, as what they hold."""
    return {key: _unfolded(value) for key, value in metadata.items()}


def _unfolded(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be neither shown nor sent
    except (ValueError, RecursionError):
        return text
    return value


def _whole(value: Any) -> str:
    """As text, which safetensors has throughout, with ? for half a character."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()
