"""Small text files that someone named: never more than is asked for, and never a device or a pipe, which has no end."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class TooLarge(ValueError):
    """size: of the file, in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__("it is too large")
        self.size = size


def small_text(path: Path, most: int) -> str:
    """The text of a file of up to `most` bytes: UTF-8, or what its byte order mark says, as PowerShell's > writes it.

    Raises OSError, TooLarge, UnicodeDecodeError or another ValueError.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "it is a folder")
    size = path.stat().st_size
    if size > most:
        raise TooLarge(size)
    if not path.is_file():
        raise ValueError("it is a device or a pipe and no file")
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TooLarge(len(data))
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    return io.TextIOWrapper(io.BytesIO(data), encoding).read()
