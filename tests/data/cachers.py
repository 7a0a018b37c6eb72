"""Processes that encode pictures for the disk, killed while they write or beside each other: run with a folder and
what is to happen, it tells what it found as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.kept import OnDisk
from engine.data.latent_files import LatentFormat, Wanted
from engine.data.source import Source

SD = LatentFormat("_sd.npz", by_size=False)
FLUX = LatentFormat("_flux.npz", by_size=True)

KILLED_AT = (1, 3, 4, 6, 11, 17)
"""At which of the arrays that it writes, four to a file, each process is killed."""


def latents_of(folder: Path, form: LatentFormat = SD, side: int = 64) -> Latents:
    place = Placed((side, side), (side, side), original=(64, 64))
    sources = [Source(picture, place) for picture in sorted(folder.glob("*.png"))]
    return Latents(sources, _mean_colours, OnDisk(form, Wanted("a")))


def cache(folder: Path, form: LatentFormat = SD, side: int = 64) -> int:
    """Encode what is lacking; how many that were."""
    latents = latents_of(folder, form, side)
    lacking = latents.lacking()
    latents.cache(lacking, 2, 7, lambda done, total: None)
    return len(lacking)


def killed(folder: Path) -> list[dict[str, object]]:
    """Kill one process after another in the middle of an array, and at last let one end: what lies there each time."""
    found = []
    for number in KILLED_AT:
        told, tell = os.pipe()
        child = _beside(lambda number=number, tell=tell: _cache_until(number, tell, folder))
        assert os.read(told, 1) == b"h"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found.append(_state(folder))
    encoded = cache(folder)
    return [*found, {**_state(folder), "encoded": encoded}]


def beside_each_other(folder: Path) -> list[dict[str, object]]:
    """Two processes at once, of the same pictures at one size; then two of two sizes that share each file."""
    for form, sides in ((SD, (64, 64)), (FLUX, (64, 32))):
        gate = time.monotonic() + 0.05
        children = [
            _beside(lambda form=form, side=side, gate=gate: _cache_slowly(gate, folder, form, side)) for side in sides
        ]
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    return [{**_state(folder), "lacking": [len(latents_of(folder, FLUX, side).lacking()) for side in (64, 32)]}]


def _mean_colours(pixels: Tensor, _: object) -> Tensor:
    return torch.nn.functional.avg_pool2d(pixels, 8)


def _beside(work: Callable[[], object]) -> int:
    if child := os.fork():
        return child
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _cache_slowly(gate: float, folder: Path, form: LatentFormat, side: int) -> None:
    """From a moment on, with pauses while a file is written, in which the other process writes."""
    original = zipfile.ZipFile.writestr

    def writestr(self: zipfile.ZipFile, name: str, data: bytes) -> None:
        time.sleep(0.001)
        original(self, name, data)

    zipfile.ZipFile.writestr = writestr  # type: ignore[method-assign,assignment]
    time.sleep(max(0.0, gate - time.monotonic()))
    cache(folder, form, side)


def _cache_until(number: int, tell: int, folder: Path) -> None:
    """Write half of an array, say so, and go no further."""
    original, written = zipfile.ZipFile.writestr, 0

    def writestr(self: zipfile.ZipFile, name: str, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == number:
            self.fp.write(data[: len(data) // 2])
            self.fp.flush()
            os.write(tell, b"h")
            time.sleep(60)
        original(self, name, data)

    zipfile.ZipFile.writestr = writestr  # type: ignore[method-assign,assignment]
    cache(folder)


def _state(folder: Path) -> dict[str, object]:
    """Every cache file with what tells it from one that was written anew, what is half, and what still lacks."""
    files = {file.name: [file.stat().st_ino, file.stat().st_mtime_ns] for file in folder.glob("*.npz")}
    half = [file.name for file in folder.iterdir() if file.name.endswith(".new")]
    return {"files": files, "half": half}


if __name__ == "__main__":
    torch.set_num_threads(1)
    happens = {"killed": killed, "beside": beside_each_other}[sys.argv[2]]
    print(json.dumps(happens(Path(sys.argv[1]))))
