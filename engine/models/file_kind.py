"""What kind of file a model is in, by its first bytes, whatever its extension.  Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engine.disk import why_not
from engine.models.header import LARGEST_HEADER, SAFETENSORS, NoModel
from engine.reading import opened

FileKind = Literal["safetensors", "pickle"]

ARCHIVE, PICKLE = b"PK\3\4", b"\x80"
"""How torch's files begin: since version 1.6, and before it."""


def file_kind(file: Path) -> FileKind:
    """Raises NoModel, with the name of the kind, if it is of another kind."""
    try:
        with opened(file) as stream:
            begin = stream.read(64)
    except OSError as error:
        raise NoModel(f"{file} cannot be read: {why_not(error)}.") from None
    if not begin:
        raise NoModel(f"{file.name} is empty.")
    if begin.startswith(b"GGUF"):
        raise NoModel(
            f"{file.name} is a GGUF file: its weights are quantized for generating pictures and cannot be trained.",
            "Choose the same model as a .safetensors file, in fp16, bf16 or fp8.",
        )
    if 2 <= int.from_bytes(begin[:8], "little") <= LARGEST_HEADER and begin[8:9] == b"{":
        return "safetensors"  # checked first, because the bytes of its length may look like any of the others
    if begin.lstrip()[:1] == b"<":
        raise NoModel(
            f"{file.name} is a web page, not a model: the download returned the site's page instead of the file.",
            "Download it again; some sites require you to log in first.",
        )
    if begin.startswith(b"version https://git-lfs"):
        raise NoModel(
            f"{file.name} is a Git LFS pointer, not a model: the file itself was not fetched.",
            "Run git lfs pull in its folder, or download the file from the model's page.",
        )
    if file.suffix.lower() in SAFETENSORS:
        return "safetensors"
    if begin.startswith((ARCHIVE, PICKLE)):
        return "pickle"
    raise NoModel(f"{file.name} is not a weights file: neither .safetensors nor a file written by torch.")
