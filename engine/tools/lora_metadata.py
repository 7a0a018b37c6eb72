"""What a .safetensors file says about itself, as people look at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.reading import parse_json


def unfolded(metadata: Mapping[str, str]) -> dict[str, Any]:
    """For people: values that hold JSON, such as ss_tag_frequency, as what they hold."""
    return {key: _unfolded(value) for key, value in metadata.items()}


def _unfolded(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        value = parse_json(text.encode())
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be neither shown nor sent
    except (ValueError, RecursionError):  # UnicodeEncodeError among the first
        return text
    return value
