"""Encoded captions in files next to their pictures, under sd-scripts' names and keys.  Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.data import npz
from engine.data.npz import Npz

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CaptionFormat:
    """suffix: of the files.  names: of the arrays.  flags: arrays of one boolean that must match.

    lengths: first dimensions of arrays, if the settings may change them.  before: text that is read before each
    caption.  revision: of the encoding: our own files with a different one are encoded again.
    """

    suffix: str
    names: frozenset[str]
    flags: Mapping[str, bool] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    before: str = ""
    revision: int = 0


class CaptionFiles:
    """encoders: which text encoders, and how they read.  ending: extension of the caption files.

    foreign: the number of files in use from another program, which do not say which caption they belong to.
    """

    def __init__(self, form: CaptionFormat, encoders: str, ending: str) -> None:
        self._format, self._encoders, self._ending = form, encoders, ending
        self._owners: dict[Path, str] = {}
        self.foreign: set[Path] = set()

    def owns(self, picture: Path, caption: str) -> bool:
        """Whether the picture's file is for this caption: two pictures that only differ in extension share one."""
        return self._owners.setdefault(self._file(picture), caption) == caption

    def fits(self, picture: Path, caption: str) -> bool:
        file = self._file(picture)
        try:
            with Npz(file) as opened:
                stamp = opened.stamp()
                if stamp is not None:
                    return stamp == self._stamp(caption) and self._is_whole(opened)
                if self._is_whole(opened) and not self._was_changed_since(picture, file):
                    self.foreign.add(file)
                    return True
        except (OSError, ValueError, KeyError):
            pass
        return False

    def write(self, picture: Path, caption: str, arrays: Mapping[str, Array]) -> None:
        """Raises OSError."""
        flags = {name: np.array(value) for name, value in self._format.flags.items()}
        npz.write(self._file(picture), {**arrays, **flags}, self._stamp(caption))

    def read(self, picture: Path, caption: str) -> dict[str, Array]:
        """Raises OSError or ValueError if the file has changed."""
        with Npz(self._file(picture)) as opened:
            stamp = opened.stamp()
            if stamp is not None and stamp != self._stamp(caption):
                raise ValueError("its encoded caption was replaced by a different one")
            return {name: opened.read(name) for name in self._format.names}

    def _is_whole(self, opened: Npz) -> bool:
        form = self._format
        return (
            form.names | set(form.flags) <= set(opened.names())
            and all(opened.shape(name)[0] == length for name, length in form.lengths.items())
            and all(bool(opened.read(name)) == value for name, value in form.flags.items())
        )

    def _was_changed_since(self, picture: Path, file: Path) -> bool:
        caption = picture.with_suffix(self._ending)
        return caption.exists() and caption.stat().st_mtime_ns > file.stat().st_mtime_ns

    def _file(self, picture: Path) -> Path:
        return picture.with_name(picture.stem + self._format.suffix)

    def _stamp(self, caption: str) -> dict[str, Any]:
        digest = hashlib.blake2b(caption.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return {"caption": digest, "encoders": self._encoders}
