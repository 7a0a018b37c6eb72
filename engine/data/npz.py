"""numpy's .npz files: written whole or not at all, with a stamp that says what they were made from.  Needs no torch.

sd-scripts keeps unknown keys when it writes into a file, including our stamp. So the stamp contains the checksums of
the arrays that it covers, and is void in a file where these differ.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.disk import written_whole
from engine.reading import opened, parse_json

LARGEST_ARRAY = 2**28
"""Bytes: the latents of a picture of 4096 × 4096 in 16 channels take a sixteenth of it."""

STAMP = "darkroom"
"""The stamp's key: a line of JSON."""


class Npz:
    """An open file: names() without reading, one array at a time.  Raises OSError or ValueError if it is not one.

    zipfile compares each array with its checksum on reading, so one garbled on disk is not accepted.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stamps: dict[str, dict[str, Any] | None] = {}
        self._stream = opened(file)
        try:
            self._zip = zipfile.ZipFile(self._stream)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            self._stream.close()
            raise ValueError(f"{file.name} is not a complete .npz file") from error

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._stream.close()

    def names(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self._zip.namelist()]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape, from the header alone."""
        with self._zip.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return header(stream)[0]

    def read(self, name: str) -> np.ndarray[Any, Any]:
        try:
            return np.lib.format.read_array(io.BytesIO(self.bytes_of(name)), allow_pickle=False)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"{name} is missing or damaged") from error

    def bytes_of(self, name: str) -> bytes:
        """Raises ValueError if there are more bytes than such a file has, as a small one can expand to."""
        if self._zip.getinfo(f"{name}.npy").file_size > LARGEST_ARRAY:
            raise ValueError(f"{name} is larger than expected")
        return self._zip.read(f"{name}.npy")

    def stamp(self, suffix: str = "") -> dict[str, Any] | None:
        """The stamp written with the arrays, unless another program has replaced one of them since."""
        if suffix not in self._stamps:
            self._stamps[suffix] = self._read_stamp(suffix)
        return self._stamps[suffix]

    def _read_stamp(self, suffix: str) -> dict[str, Any] | None:
        try:
            stamp: dict[str, Any] = parse_json(_text(self.bytes_of(f"{STAMP}{suffix}")).encode())
            sums = stamp.pop("sums")
            return stamp if sums == {name: self._zip.getinfo(f"{name}.npy").CRC for name in sums} else None
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, zipfile.BadZipFile):
            return None


def write(
    file: Path,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    stamp: Mapping[str, Any],
    suffix: str = "",
    kept: Mapping[str, bytes] = {},
) -> None:
    """Write arrays, the stamp that covers them, and what is kept unchanged from an older file.

    Not flushed to disk: what a power cut garbles is detected and made again.
    """
    with written_whole(file, waits=False) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
        for name, data in kept.items():
            archive.writestr(f"{name}.npy", data)
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", _npy(array))
        sums = {name: archive.getinfo(f"{name}.npy").CRC for name in arrays}
        archive.writestr(f"{STAMP}{suffix}.npy", _npy(np.array(json.dumps({**stamp, "sums": sums}))))


def _text(npy: bytes) -> str:
    """Read an array that is one text.  numpy's own reader parses the header with Python, which takes longest.

    Source: numpy.lib.format, version 1.0: 8 bytes, the header's length in two, the header, four bytes a character.
    """
    begin = 10 + struct.unpack("<H", npy[8:10])[0]
    if npy[6:8] != b"\x01\x00" or b"'descr': '<U" not in npy[10:begin]:
        raise ValueError("it is not text in numpy's format")
    return npy[begin:].decode("utf-32-le").rstrip("\0")


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()
