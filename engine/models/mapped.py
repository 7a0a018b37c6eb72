"""The tensors of a pickled checkpoint, taken from its file's bytes without reading a pickle."""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from engine.models.header import NoModel
from engine.models.pickled import SIZES, Checkpoint, Storage

_FORMATS = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip

_LOCAL = struct.Struct("<4s22xHH")
"""The header of an archive's entry: a mark, the name's length, and the length of the extra field.
Source: PKWARE's APPNOTE, section 4.3.7."""


def mapped(file: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """By name; their memory is the file's own, read as it is used.  Raises NoModel."""
    if not checkpoint.is_archive or sys.byteorder != "little":
        raise NoModel(
            f"{file.name} is in an old format and contains more than weights, which this version cannot read.",
            "Get the model as a .safetensors file.",
        )
    try:
        whole = torch.UntypedStorage.from_file(str(file), False, file.stat().st_size)
        with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
            folder = next(name for name in archive.namelist() if name.endswith("data.pkl")).removesuffix("data.pkl")
            begins: dict[str, int] = {}

            def begin_of(storage: Storage) -> int:
                if storage.key not in begins:
                    entry = archive.getinfo(f"{folder}data/{storage.key}")
                    stream.seek(entry.header_offset)
                    mark, name, extra = _LOCAL.unpack(stream.read(_LOCAL.size))
                    begin = entry.header_offset + _LOCAL.size + name + extra
                    needed = storage.count * SIZES[storage.kind]
                    if mark != b"PK\3\4" or entry.compress_type or entry.file_size < needed:
                        raise ValueError(f"{storage.key} is not all there")
                    if begin + needed > whole.nbytes():
                        raise ValueError(f"{storage.key} is cut off")
                    begins[storage.key] = begin
                return begins[storage.key]

            tensors = {}
            for name, stored in checkpoint.tensors.items():
                begin = begin_of(stored.storage)
                end = begin + stored.storage.count * SIZES[stored.storage.kind]
                empty = torch.empty(0, dtype=_FORMATS[stored.storage.kind])
                tensors[name] = empty.set_(whole[begin:end], stored.begin, stored.shape, stored.stride)
            return tensors
    except (OSError, ValueError, KeyError, StopIteration, RuntimeError, struct.error, zipfile.BadZipFile) as error:
        raise NoModel(f"{file.name} is damaged: {error}.") from error
