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
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.data.batches import MicroBatch
from engine.data.dataset import Latents
from engine.data.examining import examined
from engine.data.kept import InMemory, Kept, OnDisk
from engine.data.latent_files import LatentFormat, Wanted
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


def plain_loop(sources: list[Source]) -> float:
    began = time.perf_counter()
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
    return time.perf_counter() - began


def engine(sources: list[Source], kept: Kept) -> float:
    began = time.perf_counter()
    latents = Latents(sources, encode, kept)
    latents.cache(latents.lacking(), 4, 7, lambda done, total: None)
    return time.perf_counter() - began


def compare(photos: int, rounds: int, kind: str) -> dict[str, float]:
    """Medians of pictures a second, the three in turn in every round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = sources_of(make_photos(folder, photos, kind), Dataset(max_resolution="1024,1024"))
        seconds: dict[str, list[float]] = {"plain": [], "memory": [], "disk": []}
        for _ in range(rounds):
            seconds["plain"].append(plain_loop(sources))
            seconds["memory"].append(engine(sources, InMemory()))
            seconds["disk"].append(engine(sources, OnDisk(FORM, Wanted("a"))))
            for file in folder.glob("*.npz"):
                file.unlink()
    return {name: photos / statistics.median(times) for name, times in seconds.items()}


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
    examined(files, decode=False)
    sources = sources_of(files, Dataset(max_resolution="64,64"))
    latents = Latents(sources, encode, OnDisk(FORM, Wanted("a")))
    assert not latents.lacking()
    latents.read(MicroBatch((0, 1, 2, 3), 1.0, 7, 1))
    seconds, started = time.perf_counter() - began, megabytes()
    for index in range(READ):
        latents.read(MicroBatch((index % len(files),), 1.0, 7, 1))
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
        rate = compare(asked.photos, asked.rounds, kind)
        print(f"{kind}: " + ", ".join(f"{name} {each:.2f}/s" for name, each in rate.items()), end="; ")
        print(f"memory {rate['memory'] / rate['plain']:.2f}×, disk {rate['disk'] / rate['plain']:.2f}×")
    for count in (asked.many // 10, asked.many):
        with tempfile.TemporaryDirectory() as name:
            make_warm(Path(name), count)
            command = [sys.executable, "-m", "benchmarks.caching", "--warm", name]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"warm, {count} pictures: " + ", ".join(f"{key} {value:.2f}" for key, value in told.items()))


if __name__ == "__main__":
    main()
