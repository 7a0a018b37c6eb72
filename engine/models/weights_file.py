"""Writing weights to a file: whole or not at all, and with normal file permissions."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from engine.disk import written_whole

KNOWN_ENTRIES = re.compile(r"[^/]+/(data\.pkl|version|data/\d+)")

HEADER = 2**20
"""Bytes allowed for everything in a file besides its tensors."""


def write_weights(file: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str], pickled: Any = None) -> None:
    """weights: contiguous, in main memory.  A name that does not end in .safetensors gets torch's format, without
    metadata, for programs that read nothing else: of `pickled`, or of the weights alone.  Raises DiskFull, OSError.

    safetensors writes a file of its own, readable only by its owner, and renames it at the end.
    """
    with written_whole(file, needs=bytes_in(weights) + HEADER, within=True) as new:
        new.touch()
        usual = new.stat().st_mode
        if file.suffix == ".safetensors":
            safetensors.torch.save_file(dict(weights), new, metadata=dict(metadata))
        else:
            torch.save(pickled if pickled is not None else dict(weights), new)
            _list_what_older_programs_know(new)
        if new.stat().st_mode != usual:
            with suppress(OSError):  # file systems of other owners and systems have their own permissions
                os.chmod(new, usual)


def _list_what_older_programs_know(archive: Path) -> None:
    """A1111 refuses a file whose list of entries has others than these, of which torch has added some since."""
    with zipfile.ZipFile(archive, "a") as whole:
        whole.filelist[:] = [entry for entry in whole.filelist if KNOWN_ENTRIES.fullmatch(entry.filename)]
        whole.comment = b""  # has the list written anew


def bytes_in(tree: Any) -> int:
    """Bytes of all tensors in nested dictionaries and lists."""
    if isinstance(tree, Tensor):
        return tree.nbytes
    if isinstance(tree, Mapping):
        return sum(bytes_in(value) for value in tree.values())
    if isinstance(tree, list | tuple):
        return sum(bytes_in(value) for value in tree)
    return 0
