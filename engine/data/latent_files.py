"""Latents in files next to their pictures, under sd-scripts' names and keys, so that each program can use the other's.

Needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from engine.data import npz
from engine.data.examining import examine
from engine.data.npz import Npz
from engine.data.scaling import shrinks
from engine.data.source import Source
from engine.disk import remove_leftovers

Array = np.ndarray[Any, Any]

ALPHA, DRAWN = "alpha_mask", "darkroom_mask"
"""Keys of masks: sd-scripts' own for the picture's transparency, and ours for a mask file, which it does not cache."""

LOCK = ".darkroom-latents.lock"


@dataclass(frozen=True)
class LatentFormat:
    """How a model's latents are stored.

    suffix: of the files.  by_size: a file holds latents of several sizes, with _HEIGHTxWIDTH in their keys.
    stride: pixels per latent.  scale, shift: the model's latents are (stored − shift) · scale.
    """

    suffix: str
    by_size: bool
    stride: int = 8
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """vae: its fingerprint, including its precision.

    unchecked: accept any file that contains latents, of whatever picture and VAE.
    since: seconds since 1970; older files are not accepted.
    """

    vae: str
    unchecked: bool = False
    since: float | None = None


class LatentFiles:
    """foreign: files in use from another program, which do not say which VAE made them.

    without_numbers: pictures whose latents from another program are NaN, so that they are missing.
    """

    def __init__(self, form: LatentFormat, wanted: Wanted) -> None:
        self._format, self._wanted = form, wanted
        self._owners: dict[Path, Path] = {}
        self._ways: dict[tuple[Path, str], Any] = {}
        self._found: dict[Source, Path] = {}
        self.foreign: set[Path] = set()
        self.without_numbers: set[Path] = set()

    def lacking(self, sources: list[Source]) -> list[Source]:
        """Pictures without a matching file."""
        different = list(dict.fromkeys(sources))
        for folder in {source.picture.parent for source in different}:
            remove_leftovers(folder)
        for source in different:
            self._owners.setdefault(self._usual(source), source.picture)
        for source in different:
            self._file(source)  # so that names follow the order of the sources, not of the threads
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            found = dict(zip(different, pool.map(self._find, different), strict=True))
        self._found |= {source: file for source, file in found.items() if file}
        return [source for source in different if not found[source]]

    def write(self, source: Source, latents: Array, flipped: Array | None = None, mask: Array | None = None) -> None:
        """latents, flipped: as stored.  mask: (height, width) in [0, 1].  Raises OSError."""
        end, place, file = self._end(source), source.place, self._file(source)
        arrays: dict[str, Array] = {
            f"latents{end}": latents.astype(np.float32),
            f"original_size{end}": np.array(place.original),
            f"crop_ltrb{end}": np.array(place.inner()),
        }
        if flipped is not None:
            arrays[f"latents_flipped{end}"] = flipped.astype(np.float32)
        if mask is not None:
            arrays[f"{DRAWN if source.mask else ALPHA}{end}"] = mask.astype(np.float32)
        with FileLock(file.with_name(LOCK)) if self._format.by_size else nullcontext():
            npz.write(file, arrays, self._stamp(source), end, self._other_sizes(file, source))
        self._found[source] = file

    def read(self, source: Source, flipped: bool = False) -> tuple[Array, Array | None]:
        """Latents as stored, and the mask if one is used.  Raises OSError or ValueError if they are gone."""
        end = self._end(source)
        with Npz(self._found[source]) as opened:
            if not self._fits(opened, source):
                raise ValueError("its cached latents were replaced by different ones")
            try:
                latents = opened.read(f"latents_flipped{end}" if flipped else f"latents{end}")
                mask = opened.read(self._mask_key(source)) if source.masked else None
            except ValueError as error:
                raise ValueError(f"its cache file {opened.file.name} is damaged; delete it") from error
        if not np.isfinite(latents).all():
            raise ValueError(f"its cache file {opened.file.name} contains NaN values; delete it")
        return latents, mask[:, ::-1] if mask is not None and flipped else mask

    def _usual(self, source: Source) -> Path:
        """sd-scripts' name: NAME_WWWWxHHHH and the suffix, with the size of the picture's file."""
        width, height = source.place.original
        return source.picture.with_name(f"{source.picture.stem}_{width:04d}x{height:04d}{self._format.suffix}")

    def _file(self, source: Source) -> Path:
        """Pictures that only differ in extension would share a name: all but the first keep their extension in it."""
        usual, stem, name = self._usual(source), source.picture.stem, source.picture.name
        files = (usual.with_name(usual.name.replace(stem, begin, 1)) for begin in _begins(stem, name))
        return next(file for file in files if self._may_have(file, source))

    def _may_have(self, file: Path, source: Source) -> bool:
        """Whether no other picture uses it, nor the same one with other settings, as two datasets may have it."""
        kept = (source.place, source.flips, source.masked, source.mask)
        is_its_own = self._owners.setdefault(file, source.picture) == source.picture
        return is_its_own and self._ways.setdefault((file, self._end(source)), kept) == kept

    def _find(self, source: Source) -> Path | None:
        files = [self._file(source)]
        if not self._format.by_size and files[0] == self._usual(source):
            files.append(source.picture.with_suffix(".npz"))  # sd-scripts' older name
        for file in files:
            if not file.is_file() or file.stat().st_mtime < (self._wanted.since or 0):
                continue
            try:
                with Npz(file) as opened:
                    if not self._fits(opened, source):
                        continue
                    if not self._wanted.unchecked and opened.stamp(self._end(source)) is None:
                        self.foreign.add(file)
                    return file
            except (OSError, ValueError, KeyError):
                continue
        return None

    def _fits(self, opened: Npz, source: Source) -> bool:
        end = self._end(source)
        needed = {f"latents{end}"}
        if source.flips:
            needed.add(f"latents_flipped{end}")
        if source.masked:
            needed.add(self._mask_key(source))
        if not needed <= set(opened.names()):
            return False
        if self._wanted.unchecked:
            return True
        stamp = opened.stamp(end)
        if stamp is None:
            return self._may_be_trusted(opened, source)
        expected = self._stamp(source)
        return all(stamp.get(name) == value for name, value in expected.items())

    def _may_be_trusted(self, opened: Npz, source: Source) -> bool:
        """Accept another program's file by its shape, as sd-scripts does; if the picture has not changed since; if it
        is not NaN; and not for photos that EXIF rotates, as sd-scripts does not rotate them.
        """
        end, (width, height), stride = self._end(source), source.place.bucket, self._format.stride
        names = [f"latents{end}", f"latents_flipped{end}"][: 1 + source.flips]
        if (
            any(opened.shape(name)[-2:] != (height // stride, width // stride) for name in names)
            or opened.file.stat().st_mtime_ns < source.picture.stat().st_mtime_ns
            or examine(source.picture, decode=False).turned
        ):
            return False
        # Our own files were checked before they were written: see Latents.
        if not all(np.isfinite(opened.read(name)).all() for name in names):
            self.without_numbers.add(source.picture)
            return False
        return True

    def _stamp(self, source: Source) -> dict[str, Any]:
        stamp: dict[str, Any] = {
            "picture": _state(source.picture),
            "resized": list(source.place.resized),
            "bucket": list(source.place.bucket),
            "vae": self._wanted.vae,
        }
        if shrinks(source.place.original, source.place.resized):
            stamp["shrunk"] = "by area"  # Lanczos used to do it, and its result is a different picture
        if source.masked and source.mask:
            stamp["mask"] = _state(source.mask)
        return stamp

    def _mask_key(self, source: Source) -> str:
        return f"{DRAWN if source.mask else ALPHA}{self._end(source)}"

    def _end(self, source: Source) -> str:
        if not self._format.by_size:
            return ""
        width, height = (side // self._format.stride for side in source.place.bucket)
        return f"_{height}x{width}"

    def _other_sizes(self, file: Path, source: Source) -> dict[str, bytes]:
        """Other latents in the file, to keep; none if the picture is newer, because then all of it is outdated."""
        end = self._end(source)
        try:
            if not self._format.by_size or file.stat().st_mtime_ns < source.picture.stat().st_mtime_ns:
                return {}
            with Npz(file) as opened:
                return {name: opened.bytes_of(name) for name in opened.names() if not name.endswith(end)}
        except (OSError, ValueError):
            return {}


def _state(file: Path) -> list[int]:
    """Size in bytes and time of the last change."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _begins(stem: str, name: str) -> Iterator[str]:
    """Possible beginnings of a cache file's name, the usual one first."""
    yield from (stem, name)
    yield from (f"{name}-{number}" for number in count(2))
