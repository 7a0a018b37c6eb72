"""Whether a picture's file is complete, from the structure around its pixels.  Needs no torch."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

PNG, JPEG, RIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF"
END_OF_JPEG = b"\xff\xd9"


def seems_whole(picture: Path) -> bool:
    """Without decoding, which takes a large PNG a thousand times as long.  Raises OSError.

    PNG: its chunks lead to the end chunk, with only pixel data before that. JPEG: the end marker is there. WebP: it is
    as long as it says.
    False for truncated files, and for formats that cannot be checked like this: then only decoding tells. Corruption
    inside passes.
    """
    with picture.open("rb") as file:
        begin = file.read(12)
        if begin.startswith(PNG):
            return _is_whole_png(file)
        size = file.seek(0, 2)
        if begin.startswith(JPEG):
            file.seek(-2, 2)
            return file.read() == END_OF_JPEG
        if begin.startswith(RIFF) and begin[8:] == b"WEBP":
            length: int = struct.unpack("<I", begin[4:8])[0]
            return length + 8 <= size
    return False


def _is_whole_png(file: BinaryIO) -> bool:
    """Source: PNG specification, third edition, sections 5.3 and 5.6."""
    file.seek(len(PNG))
    pixels = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return pixels and length == 0 and len(file.read(4)) == 4
        if pixels and kind != b"IDAT":
            return False
        pixels |= kind == b"IDAT"
        file.seek(length + 4, 1)  # including the checksum's four bytes
    return False
