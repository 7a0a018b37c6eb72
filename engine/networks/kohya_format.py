"""LoRA files as sd-scripts writes them: safetensors with ss_*, sshs_* and modelspec.* metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from engine.models.weights_file import write_weights

LEGACY_HASH_OFFSET = 0x100000
LEGACY_HASH_LENGTH = 0x10000


def as_text(value: Any) -> str:
    """A metadata value as sd-scripts writes it: everything is text, None is "None"."""
    return str(value)


def with_hashes(weights: dict[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata with both hashes added.

    They are computed from the file with only the ss_* metadata: sshs_model_hash is the SHA-256 of everything
    after its header, sshs_legacy_hash the first 8 digits of the SHA-256 of 0x10000 bytes from 0x100000.
    """
    only_ss = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    file = safetensors.torch.save(weights, metadata=only_ss)
    header_end = 8 + int.from_bytes(file[:8], "little")
    legacy = file[LEGACY_HASH_OFFSET : LEGACY_HASH_OFFSET + LEGACY_HASH_LENGTH]
    return {
        **metadata,
        "sshs_model_hash": hashlib.sha256(memoryview(file)[header_end:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(legacy).hexdigest()[:8],
    }


def save_lora(weights: dict[str, Tensor], metadata: Mapping[str, str], file: Path, dtype: torch.dtype) -> None:
    """Write the file in the given number format; it appears whole or not at all.

    A name ending in .ckpt gets torch's format, without metadata, for programs that read nothing else.
    """
    converted = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in weights.items()}
    write_weights(file, converted, with_hashes(converted, metadata) if file.suffix == ".safetensors" else {})
