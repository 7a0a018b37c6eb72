"""What the header of a .safetensors file says: its tensors' shapes and its metadata, without a weight.  Needs no torch.

A header may say anything.  What this returns has been checked against the rest of the file, as safetensors itself does
when loading, so that code which counts or indexes shapes only meets valid ones.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from engine.disk import why_not
from engine.reading import opened, parse_json

SAFETENSORS = (".safetensors", ".sft")

LARGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no longer header."""

LARGEST_RANK = 32
"""Dimensions of a tensor; torch's have 64 at most, and no model's more than five."""

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits per number, by the format's name in safetensors 0.8."""


class NoModel(ValueError):
    """A sentence about why a file is not a model.  mend: another about what to do."""

    def __init__(self, what: str, mend: str = "Download it again, or choose another file.") -> None:
        super().__init__(what)
        self.mend = mend


@dataclass(frozen=True)
class Header:
    """shapes: of each tensor.  metadata: text by key."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_header(file: Path) -> Header:
    """Raises NoModel if the file is damaged, or something else."""
    listed, metadata, behind = _read(file)
    return Header(_shapes(file, listed, behind), metadata)


def read_metadata(file: Path) -> dict[str, str]:
    """The metadata by key, whatever the rest of the file is.  Raises NoModel if it is not in this format."""
    return _read(file)[1]


def read_numbers(file: Path, names: Collection[str]) -> dict[str, float]:
    """Those of the tensors of these names that are one number each, of up to eight bytes.  Raises NoModel."""
    listed, _, _ = _read(file)
    found: dict[str, float] = {}
    try:
        with opened(file) as stream:
            start = 8 + int.from_bytes(stream.read(8), "little")
            for name in names:
                shape, (begin, end) = _entry(file, name, listed.get(name))
                form = str(listed[name]["dtype"])
                if prod(shape) == 1 and end - begin <= 8 and form in _FORMATS:
                    stream.seek(start + begin)
                    data = stream.read(end - begin)
                    # bfloat16 is the upper half of a float32.
                    whole = bytes(2) + data if form == "BF16" else data
                    found[name] = float(struct.unpack(_FORMATS[form], whole)[0])
    except (OSError, struct.error) as error:
        raise NoModel(f"{file.name} cannot be read to its end: {error}.") from None
    return found


def first_bytes(file: Path, names: Collection[str], most: int = 256) -> dict[str, bytes]:
    """Of the tensors of these names, so many at most.  Raises NoModel."""
    listed, _, _ = _read(file)
    found: dict[str, bytes] = {}
    try:
        with opened(file) as stream:
            start = 8 + int.from_bytes(stream.read(8), "little")
            for name in names:
                _, (begin, end) = _entry(file, name, listed.get(name))
                stream.seek(start + begin)
                found[name] = stream.read(min(end - begin, most))
    except OSError as error:
        raise NoModel(f"{file.name} cannot be read to its end: {error}.") from None
    return found


_FORMATS = {"F16": "<e", "BF16": "<f", "F32": "<f", "F64": "<d", "I64": "<q", "I32": "<i", "I16": "<h", "I8": "<b",
            "U8": "<B", "BOOL": "<?"}  # fmt: skip
"""As struct has them."""


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """The list of tensors, the metadata, and the bytes after the header; negative if the header is cut off."""
    try:
        with opened(file) as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= LARGEST_HEADER:
                raise NoModel(f"{file.name} is not a .safetensors file.")
            data = stream.read(length)
            behind = stream.seek(0, 2) - 8 - length
    except FileNotFoundError:
        raise NoModel(f"There is no file {file}.") from None
    except OSError as error:
        raise NoModel(f"{file} cannot be read: {why_not(error)}.") from None
    try:
        listed = parse_json(data)
    except ValueError:
        listed = None
    if not isinstance(listed, dict):
        raise NoModel(f"{file.name} is not a .safetensors file, or is incomplete.")
    metadata = listed.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise NoModel(f"{file.name} has metadata in a form that .safetensors files do not use.")
    return listed, {_whole(key): _whole(value) for key, value in sorted(metadata.items())}, behind


def _shapes(file: Path, listed: Mapping[str, Any], behind: int) -> dict[str, tuple[int, ...]]:
    """behind: bytes after the header, which the tensors must fill without a gap."""
    places: list[tuple[int, int, str]] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in listed.items():
        shape, (begin, end) = _entry(file, name, entry)
        places.append((begin, end, name))
        shapes[name] = shape
    last = max((end for _, end, _ in places), default=0)
    if behind < last:
        raise NoModel(f"{file.name} was not downloaded completely: {last - behind} bytes are missing.")
    reached = 0
    for begin, end, name in sorted(places):
        if begin != reached:
            raise NoModel(f"{file.name} is damaged: {_short(name)} does not start where the previous tensor ends.")
        reached = end
    if behind > reached:
        raise NoModel(f"{file.name} is damaged: {behind - reached} bytes at its end belong to no tensor.")
    return shapes


def _entry(file: Path, name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """A tensor's shape, and where it begins and ends after the header.  Raises NoModel."""
    said = entry if isinstance(entry, dict) else {}
    shape, place = _counts(said.get("shape")), _counts(said.get("data_offsets"))
    if shape is None or len(shape) > LARGEST_RANK or place is None or len(place) != 2:
        raise NoModel(f"{file.name} is damaged: the entry for {_short(name)} in its header is invalid.")
    begin, end = place
    bits = _BITS.get(str(said.get("dtype")))
    told, has = prod(shape) * (bits or 1), 8 * (end - begin)
    if begin > end or (told != has if bits else told > has):
        raise NoModel(f"{file.name} is damaged: {_short(name)} does not have the size that the header gives.")
    return shape, (begin, end)


def _counts(value: Any) -> tuple[int, ...] | None:
    """A list of integers of 0 or more; None if it is not one."""
    is_list = isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)
    return tuple(value) if is_list else None


def _short(name: str) -> str:
    return _whole(name if len(name) <= 80 else f"{name[:79]}…")


def _whole(value: Any) -> str:
    """As text, which all of safetensors' metadata is, with ? for incomplete characters."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()
