"""Pictures into latents: caching beside a plain loop, and the start with a warm cache of many pictures.

python -m benchmarks.caching [--photos 24] [--rounds 3] [--many 10000]

The VAE is a mean over 8×8 pixels, so that decoding and scaling are what is measured. The plain loop opens, scales,
crops and encodes one picture after the other, at the full size that the file has.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.data import examining
from engine.data.batches import MicroBatch
from engine.data.buckets import Size
from engine.data.dataset import Latents
from engine.data.kept import InMemory, Kept, OnDisk
from engine.data.latent_files import LatentFormat, Wanted
from engine.data.opening import read_for_a_look, read_upright
from engine.data.placing import placed
from engine.data.source import Source
from engine.settings.dataset import Dataset

FORM = LatentFormat("_sd.npz", by_size=False, scale=0.18215)
PHOTO = (4000, 3000)
READ = 500
"""Pictures read from a warm cache after the start, to see whether memory grows."""


def encode(pixels: Tensor, _: object) -> Tensor:
    return torch.nn.functional.avg_pool2d(pixels, 8)


def make_photos(folder: Path, count: int, kind: str) -> list[Path]:
    """With structure at all scales, so that they take as long to decode as photos do."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (PHOTO[1] // 8, PHOTO[0] // 8, 3), np.uint8))
        files.append(folder / f"{number:03d}.{kind}")
        photo = coarse.resize(PHOTO, Image.Resampling.BICUBIC)
        photo.save(files[-1], quality=92) if kind == "jpg" else photo.save(files[-1], compress_level=1)
    return files


def sources_of(files: list[Path], settings: Dataset) -> list[Source]:
    return [Source.of(file, place, settings) for file, place in zip(files, placed(files, settings), strict=True)]


def plain_loop(sources: list[Source]) -> None:
    kept = []
    for source in sources:
        with Image.open(source.picture) as image:
            resized = (
                ImageOps.exif_transpose(image).convert("RGB").resize(source.place.resized, Image.Resampling.LANCZOS)
            )
        (width, height), (w, h) = source.place.bucket, resized.size
        left, top = (w - width) // 2, (h - height) // 2
        array = np.asarray(resized.crop((left, top, left + width, top + height)), dtype=np.float32)
        kept.append(encode((torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1)[None], None))


def engine(sources: list[Source], kept: Kept) -> None:
    latents = Latents(sources, encode, kept)
    latents.cache(latents.lacking(), 4, 7, lambda done, total: None)


def each_read(way: Callable[[Path, Size], Image.Image], sources: list[Source]) -> None:
    for source in sources:
        way(source.picture, source.place.resized)


def look_through(files: list[Path], unless_whole: bool) -> None:
    for remembered in (examining._header, examining._decoded, examining._whole):
        remembered.cache_clear()
    examining.examined(files, unless_whole=unless_whole)


@dataclass
class Times:
    """Of each round, in seconds.  processor: of all threads, which other programs hardly change."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], None]) -> None:
        began, used = time.perf_counter(), time.process_time()
        work()
        self.wall.append(time.perf_counter() - began)
        self.processor.append(time.process_time() - used)


def compare(photos: int, rounds: int, kind: str) -> dict[str, Times]:
    """All ways in turn in every round."""
    ways = ("plain", "memory", "disk", "decoded before", "looked at before", "quickly", "by area")
    times = {name: Times() for name in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_photos(folder, photos, kind)
        sources = sources_of(files, Dataset(max_resolution="1024,1024"))
        for _ in range(rounds):
            times["plain"].add(lambda: plain_loop(sources))
            times["memory"].add(lambda: engine(sources, InMemory()))
            times["disk"].add(lambda: engine(sources, OnDisk(FORM, Wanted("a"))))
            times["decoded before"].add(lambda: look_through(files, unless_whole=False))
            times["looked at before"].add(lambda: look_through(files, unless_whole=True))
            times["quickly"].add(lambda: each_read(read_for_a_look, sources))
            times["by area"].add(lambda: each_read(read_upright, sources))
            for file in folder.glob("*.npz"):
                file.unlink()
    return times


def make_warm(folder: Path, count: int) -> None:
    settings = Dataset(max_resolution="64,64")
    rng = np.random.default_rng(0)
    files = [folder / f"{number:05d}.png" for number in range(count)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(file, compress_level=0)
    engine(sources_of(files, settings), OnDisk(FORM, Wanted("a")))


def warm_start(folder: Path) -> dict[str, float]:
    """In a process of its own: seconds until the first batch is read, and megabytes before, then, and later."""
    process = psutil.Process()

    def megabytes() -> float:
        return process.memory_info().rss / 2**20

    begin, began = megabytes(), time.perf_counter()
    files = sorted(folder.glob("*.png"))
    examining.examined(files, decode=False)
    sources = sources_of(files, Dataset(max_resolution="64,64"))
    latents = Latents(sources, encode, OnDisk(FORM, Wanted("a")))
    assert not latents.lacking()
    latents.read(MicroBatch((0, 1, 2, 3), 1.0, 7, 1, 0))
    seconds, started = time.perf_counter() - began, megabytes()
    for index in range(READ):
        latents.read(MicroBatch((index % len(files),), 1.0, 7, 1, 0))
    return {"seconds": seconds, "begin": begin, "started": started, "later": megabytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--warm", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.warm:
        print(json.dumps(warm_start(Path(asked.warm))))
        return
    print(f"{os.cpu_count()} cores; {asked.photos} photos of {PHOTO[0]}×{PHOTO[1]} to 1024²")
    for kind in ("jpg", "png"):
        times = compare(asked.photos, asked.rounds, kind)
        plain = times["plain"]
        for name, each in times.items():
            wall, used = (statistics.median(values) for values in (each.wall, each.processor))
            print(
                f"{kind} {name}: {asked.photos / wall:.2f}/s, {wall:.2f} s, {used:.2f} s of processors; plain is "
                f"{min(plain.wall) / min(each.wall):.2f}× at best, {statistics.median(plain.processor) / used:.2f}× in "
                "processors"
            )
    for count in (asked.many // 10, asked.many):
        with tempfile.TemporaryDirectory() as name:
            make_warm(Path(name), count)
            command = [sys.executable, "-m", "benchmarks.caching", "--warm", name]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"warm, {count} pictures: " + ", ".join(f"{key} {value:.2f}" for key, value in told.items()))


if __name__ == "__main__":
    main()
