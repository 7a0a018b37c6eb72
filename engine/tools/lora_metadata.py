"""Reads what a .safetensors file says about itself, without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LONGEST_HEADER = 100 * 2**20
"""Bytes; safetensors' own limit."""


def read_metadata(file: Path) -> dict[str, Any]:
    """The metadata by key; values that hold JSON, such as ss_tag_frequency, are given as what they hold.

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
    return {key: _unfolded(value) for key, value in sorted(metadata.items())}


def _unfolded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
