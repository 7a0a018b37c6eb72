"""The training pictures as latents with their captions, encoded once or each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.data.batches import derived_seed
from engine.data.captions import caption_of
from engine.data.folders import ImageFolder
from engine.data.pictures import read_picture

Encode = Callable[[Tensor, torch.Generator | None], Tensor]
"""Pixels (B, 3, H, W) in [-1, 1] and the noise source of the VAE's draw → latents (B, C, h, w)."""


@dataclass(frozen=True)
class Item:
    picture: Path
    caption: str
    repeats: int


def items_of(folder: ImageFolder, caption_ending: str) -> list[Item]:
    """Every picture of every concept with its caption, in the order of names."""
    return [
        Item(picture, caption_of(picture, caption_ending, concept.words), concept.repeats)
        for concept in folder.concepts
        for picture in concept.pictures
    ]


class Latents:
    """Latents of the pictures by index.  size: (width, height) in pixels."""

    def __init__(self, items: list[Item], size: tuple[int, int], encode: Encode) -> None:
        self._items, self._size, self._encode = items, size, encode
        self._cached: list[Tensor] = []

    def cache(self, batch_size: int, seed: int, progress: Callable[[int, int], None]) -> None:
        """Encode every picture now and keep the latents in memory; pictures are read ahead by threads.

        The draw from the VAE's distribution depends on the seed and the picture's place alone.
        """
        groups = [range(i, min(i + batch_size, len(self._items))) for i in range(0, len(self._items), batch_size)]
        with ThreadPoolExecutor(max_workers=2) as pool:
            for group, pixels in _ahead(pool, self._read, groups):
                generator = torch.Generator().manual_seed(derived_seed(seed, "latents", group.start))
                self._cached.extend(self._encode(pixels, generator).cpu().unbind())
                progress(group.stop, len(self._items))

    def batch(self, indices: tuple[int, ...]) -> Tensor:
        """(B, C, h, w), on the CPU where cached."""
        if self._cached:
            return torch.stack([self._cached[index] for index in indices])
        return self._encode(self._read(indices), None)

    def _read(self, indices: tuple[int, ...] | range) -> Tensor:
        return torch.stack([read_picture(self._items[index].picture, *self._size) for index in indices])


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[range], Tensor], groups: list[range]
) -> Iterator[tuple[range, Tensor]]:
    """read() of every group in order, two groups ahead of the one in use."""
    waiting: list[tuple[range, Future[Tensor]]] = []
    for group in groups:
        waiting.append((group, pool.submit(read, group)))
        if len(waiting) > 2:
            ready, future = waiting.pop(0)
            yield ready, future.result()
    for ready, future in waiting:
        yield ready, future.result()
