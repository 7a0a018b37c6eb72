"""Reading files that someone named, within limits: only regular files, and never more than was asked for.

A link may lead to a device or a pipe, which never ends; a file may be larger than the memory, and a small one may take
gigabytes once it is parsed.  All errors are OSErrors or ValueErrors whose text can end a sentence.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

MOST_VALUES = 1_000_000
"""Values in a JSON file.  Each takes up to 200 bytes of memory, so some 200 MB; the largest real list of a model's
tensors has 30,000."""

NOT_COUNTED = 2**20
"""Bytes of JSON below which its values are not counted: they are fewer than MOST_VALUES anyway."""

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class NoRegularFile(OSError):
    """A device, a pipe or a socket."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is a device or a pipe, not a file")


class TooLarge(OSError):
    """size, most: the file's bytes, and the limit."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it is {megabytes(size)}, and at most {megabytes(most)} can be read")
        self.size = size


def megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB" if size >= 2**20 else f"{size / 2**10:.0f} KB"


def opened(path: Path, most: int | None = None) -> BufferedReader:
    """The file, opened to read bytes.  Raises OSError if it is not a regular file, or has more than `most` bytes."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(
        os.stat(path).st_mode
    ):  # checked before opening, because opening alone can block or have effects
        raise NoRegularFile
    stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - whoever asked closes it
    try:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NoRegularFile
        if most is not None and found.st_size > most:
            raise TooLarge(found.st_size, most)
    except OSError:
        stream.close()
        raise
    return stream


def _without_waiting(path: str, flags: int) -> int:
    """Do not block on a file that has become a pipe since it was checked."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def small_bytes(path: Path, most: int) -> bytes:
    """The whole of a file of up to `most` bytes.  Raises OSError."""
    with opened(path, most) as stream:
        data = stream.read(most + 1)  # some files are longer than their reported size
    if len(data) > most:
        raise TooLarge(len(data), most)
    return data


def small_json(path: Path, most: int, values: int = MOST_VALUES) -> Any:
    """The contents of a JSON file of up to `most` bytes.  Raises OSError and ValueError."""
    return parse_json(small_bytes(path, most), values)


def parse_json(data: bytes, values: int = MOST_VALUES) -> Any:
    """Raises ValueError, also if there are too many values or they are nested too deeply."""
    refuse_many_values(data, values)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def refuse_many_values(data: bytes, most: int) -> None:
    """Raise ValueError if JSON text contains more values than that, by its punctuation outside strings."""
    if len(data) > NOT_COUNTED:
        bare = _STRINGS.sub(b"", data)
        if sum(map(bare.count, (b",", b"{", b"["))) > most:
            raise ValueError(f"it contains more than {most:,} values")
