"""The metadata file of sd-scripts: captions and tags of many pictures in one JSON object, by each picture's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.data.metadata_list import LARGEST, MOST_VALUES
from engine.disk import why_not, write_text_whole
from engine.failure import Failure
from engine.reading import small_bytes, small_json
from engine.tools.caption_files import keep

Metadata = dict[str, dict[str, Any]]


def read(file: Path, option: str) -> Metadata:
    """What a metadata file holds.  Raises Failure where it is none."""
    try:
        metadata = small_json(file, LARGEST, MOST_VALUES)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {why_not(error)}.", "Choose another file.", option) from None
    except ValueError as error:
        raise Failure(f"{file} is not valid JSON, or is cut off: {error}.", "Choose another file.", option) from None
    if not isinstance(metadata, dict) or not all(isinstance(entry, dict) for entry in metadata.values()):
        raise Failure(
            f"{file} is not a metadata file: it does not have an entry for each picture.",
            "Choose another file.",
            option,
        )
    return metadata


def write(file: Path, metadata: Metadata, option: str) -> None:
    """Put a metadata file in place whole; another one that stood there is kept beside it.  Raises Failure."""
    text = json.dumps(metadata, indent=2) + "\n"
    try:
        if file.exists() and small_bytes(file, LARGEST) != text.encode():
            keep(file)
        write_text_whole(file, text)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {why_not(error)}.", "Choose another file.", option) from None
