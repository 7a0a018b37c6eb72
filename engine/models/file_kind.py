"""What kind of file a model lies in, by how it begins, whatever its name ends with.  Needs no torch."""

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
    """Raises NoModel where it is of another kind, which is called by its name."""
    try:
        with opened(file) as stream:
            begin = stream.read(64)
    except OSError as error:
        raise NoModel(f"{file} cannot be read: {why_not(error)}.") from None
    if not begin:
        raise NoModel(f"{file.name} is empty.")
    if begin.startswith(b"GGUF"):
        raise NoModel(
            f"{file.name} is a GGUF file: its weights were narrowed for drawing pictures, and cannot be trained on.",
            "Choose the same model as a .safetensors file, in fp16, bf16 or fp8.",
        )
    if 2 <= int.from_bytes(begin[:8], "little") <= LARGEST_HEADER and begin[8:9] == b"{":
        return "safetensors"  # before the rest, since the bytes of its length may look like any of it
    if begin.lstrip()[:1] == b"<":
        raise NoModel(
            f"{file.name} is a web page, not a model: the download brought the site's words instead of the file.",
            "Download it again; some sites want you to log in first.",
        )
    if begin.startswith(b"version https://git-lfs"):
        raise NoModel(
            f"{file.name} is a pointer of git's, not a model: the file itself was not fetched.",
            "Run git lfs pull in its folder, or download the file from the model's page.",
        )
    if file.suffix.lower() in SAFETENSORS:
        return "safetensors"
    if begin.startswith((ARCHIVE, PICKLE)):
        return "pickle"
    raise NoModel(f"{file.name} is no file of weights: neither .safetensors nor what torch writes.")
