"""Files that someone named, read within bounds: regular files alone, and never more of one than was asked for.

A link may lead to a device or a pipe, which has no end; a file may be larger than the memory, and a small one may hold
what takes gigabytes once it is parsed.  All errors are OSErrors or ValueErrors whose words end a sentence.
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
"""In a JSON file.  Each takes up to 200 bytes of memory, so some 200 MB; the largest list of a model's tensors in the
wild has 30,000."""

NOT_COUNTED = 2**20
"""Bytes of JSON below which its values are not counted: they are fewer than MOST_VALUES anyway."""

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class NoRegularFile(OSError):
    """A device, a pipe or a socket."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is a device or a pipe, not a file")


class TooLarge(OSError):
    """size, most: bytes that the file has, and that are read at most."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"it is {megabytes(size)}, and at most {megabytes(most)} can be read")
        self.size = size


def megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB" if size >= 2**20 else f"{size / 2**10:.0f} KB"


def opened(path: Path, most: int | None = None) -> BufferedReader:
    """The file, to read its bytes.  Raises OSError where it is no regular file, or has more than `most` bytes."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(os.stat(path).st_mode):  # asked before it is opened, for opening alone can wait or do something
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
    """What has become a pipe since it was looked at is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def small_bytes(path: Path, most: int) -> bytes:
    """All of a file of up to `most` bytes.  Raises OSError."""
    with opened(path, most) as stream:
        data = stream.read(most + 1)  # some files have more than their size says
    if len(data) > most:
        raise TooLarge(len(data), most)
    return data


def small_json(path: Path, most: int, values: int = MOST_VALUES) -> Any:
    """What a JSON file of up to `most` bytes holds.  Raises OSError and ValueError."""
    return parse_json(small_bytes(path, most), values)


def parse_json(data: bytes, values: int = MOST_VALUES) -> Any:
    """Raises ValueError, also where there are more than so many values or they are nested without end."""
    refuse_many_values(data, values)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def refuse_many_values(data: bytes, most: int) -> None:
    """Raise ValueError where a JSON text, or several, hold more values than that, by their signs outside of strings."""
    if len(data) > NOT_COUNTED:
        bare = _STRINGS.sub(b"", data)
        if sum(map(bare.count, (b",", b"{", b"["))) > most:
            raise ValueError(f"it contains more than {most:,} values")
