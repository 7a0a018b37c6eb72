"""The training pictures as latents, encoded once or each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.data.batches import derived_seed
from engine.data.buckets import Placed, Size
from engine.data.pictures import read_picture

Encode = Callable[[Tensor, list[torch.Generator] | None], Tensor]
"""Pixels (B, 3, H, W) in [-1, 1] and each one's noise source for the VAE's draw → latents (B, C, h, w)."""

FLIP_CHANCE = 0.5


@dataclass(frozen=True)
class Shown:
    """What a model is shown of some pictures.  latents: (B, C, h, w).  sizes: (B, 6), see Placed.told()."""

    latents: Tensor
    sizes: Tensor


class Latents:
    """Latents of the pictures by index.

    places: each picture's size and bucket.  flips: whether each is shown mirrored half of the time.
    """

    def __init__(self, pictures: list[Path], places: list[Placed], encode: Encode, flips: Sequence[bool] = ()) -> None:
        self._pictures, self._places, self._encode = pictures, places, encode
        self._flips = list(flips) or [False] * len(pictures)
        self._cached: dict[tuple[int, bool], Tensor] = {}

    def cache(self, batch_size: int, seed: int, progress: Callable[[int, int], None]) -> None:
        """Encode every picture now and keep the latents in memory; pictures are read ahead by threads.

        The draw from the VAE's distribution depends on the seed and the picture's place alone.
        """
        done = 0
        with ThreadPoolExecutor(max_workers=2) as pool:
            for group, pixels in _ahead(pool, self._read, self._groups(batch_size)):
                # Together with one that is mirrored, the others are encoded so too: a group is one tensor.
                for flipped in (False, True) if any(self._flips[index] for index in group) else (False,):
                    noise = [
                        torch.Generator().manual_seed(derived_seed(seed, "latents", index, flipped)) for index in group
                    ]
                    encoded = self._encode(pixels.flip(-1) if flipped else pixels, noise).cpu()
                    self._cached |= {(index, flipped): one for index, one in zip(group, encoded, strict=True)}
                done += len(group)
                progress(done, len(self._pictures))

    def batch(self, indices: tuple[int, ...]) -> Shown:
        """Latents on the CPU where cached.  Which are mirrored is drawn from torch's generator."""
        flipped = [self._flips[index] for index in indices]
        if any(flipped):
            drawn = (torch.rand(len(indices)) < FLIP_CHANCE).tolist()
            flipped = [flips and now for flips, now in zip(flipped, drawn, strict=True)]
        sizes = torch.tensor([self._places[index].told(flip) for index, flip in zip(indices, flipped, strict=True)])
        if self._cached:
            return Shown(torch.stack([self._cached[index] for index in zip(indices, flipped, strict=True)]), sizes)
        pixels = self._read(indices)
        mirrored = [one.flip(-1) if flip else one for one, flip in zip(pixels, flipped, strict=True)]
        return Shown(self._encode(torch.stack(mirrored), None), sizes)

    def _groups(self, batch_size: int) -> list[tuple[int, ...]]:
        """Indices of pictures of one bucket, to be encoded together."""
        by_bucket: dict[Size, list[int]] = {}
        for index, place in enumerate(self._places):
            by_bucket.setdefault(place.bucket, []).append(index)
        return [
            tuple(indices[i : i + batch_size])
            for indices in by_bucket.values()
            for i in range(0, len(indices), batch_size)
        ]

    def _read(self, indices: tuple[int, ...]) -> Tensor:
        return torch.stack([read_picture(self._pictures[index], self._places[index]) for index in indices])


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[tuple[int, ...]], Tensor], groups: list[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """read() of every group in order, two groups ahead of the one in use."""
    waiting: list[tuple[tuple[int, ...], Future[Tensor]]] = []
    for group in groups:
        waiting.append((group, pool.submit(read, group)))
        if len(waiting) > 2:
            ready, future = waiting.pop(0)
            yield ready, future.result()
    for ready, future in waiting:
        yield ready, future.result()
