"""numpy's .npz files: written whole or not at all, with a stamp that says what they were made from.  Needs no torch.

sd-scripts keeps keys that it does not know when it writes into a file, our stamp among them. So the stamp names the
checksums of the arrays that it speaks for, and says nothing of a file in which they are others.
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
"""Bytes: the latents of a picture of 4096 × 4096 in 16 channels have a sixteenth of it."""

STAMP = "darkroom"
"""The stamp's key: a line of JSON."""


class Npz:
    """An open file: names() without reading, one array at a time.  Raises OSError or ValueError where it is none.

    zipfile compares each array with its checksum as it is read, so one that the disk has garbled is not taken.
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
        """Of the header alone."""
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
        """Raises ValueError where there are more than such a file has, which a small one can swell to."""
        if self._zip.getinfo(f"{name}.npy").file_size > LARGEST_ARRAY:
            raise ValueError(f"{name} is larger than expected")
        return self._zip.read(f"{name}.npy")

    def stamp(self, suffix: str = "") -> dict[str, Any] | None:
        """What was written with the arrays, unless another program has replaced one of them since."""
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
    """arrays, the stamp that speaks for them, and what is kept of an older file as it stands there.

    Not waited for until it is on the disk itself: what a power cut garbles is found out and made anew.
    """
    with written_whole(file, waits=False) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
        for name, data in kept.items():
            archive.writestr(f"{name}.npy", data)
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", _npy(array))
        sums = {name: archive.getinfo(f"{name}.npy").CRC for name in arrays}
        archive.writestr(f"{STAMP}{suffix}.npy", _npy(np.array(json.dumps({**stamp, "sums": sums}))))


def _text(npy: bytes) -> str:
    """Of an array that is one text.  numpy's own reader has Python parse the header, which takes longer than the rest.

    Source: numpy.lib.format, version 1.0: 8 bytes, the header's length in two, the header, four bytes a character.
    """
    begin = 10 + struct.unpack("<H", npy[8:10])[0]
    if npy[6:8] != b"\x01\x00" or b"'descr': '<U" not in npy[10:begin]:
        raise ValueError("it is no text as numpy writes it")
    return npy[begin:].decode("utf-32-le").rstrip("\0")


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()
