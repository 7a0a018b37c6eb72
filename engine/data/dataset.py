"""The training pictures as latents, encoded once or each time they are shown."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from engine.data.batches import MicroBatch, derived_seed
from engine.data.buckets import Size
from engine.data.kept import Kept, of_latents
from engine.data.pictures import UnreadablePicture, read_masked, read_picture
from engine.data.source import Source
from engine.data.views import View, view_of
from engine.failure import Failure

Encode = Callable[[Tensor, list[torch.Generator] | None], Tensor]
"""Pixels (B, 3, H, W) in [-1, 1] and each one's generator for sampling from the VAE → latents (B, C, h, w)."""

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], bool | None]
"""Called with how many of all pictures are encoded, also before the first one; returns True to stop."""

MOST_READERS = 16
"""Threads that decode pictures at a time; each may hold a full-size photo."""

READ_AHEAD = 8
"""Pictures besides the batch being encoded, or more with more threads: so that each has one to read."""


@dataclass(frozen=True)
class Shown:
    """What a model gets of some pictures.

    pictures: indices.  latents: (B, C, h, w).  sizes: (B, 6), see Placed.told().
    mask: (B, h, w) in [0, 1], how much each position counts; None if all count fully.
    """

    pictures: tuple[int, ...]
    latents: Tensor
    sizes: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class Loaded:
    """A batch as read: latents, or pixels still to be encoded; otherwise as in Shown.

    missed: pictures that could not be read and were replaced, with the reason.
    """

    pictures: tuple[int, ...]
    latents: Tensor | None
    pixels: Tensor | None
    sizes: Tensor
    mask: Tensor | None
    missed: dict[Path, str]


@dataclass(frozen=True)
class _Found:
    """told: see Placed.told().  image: latents or pixels.  missed: pictures skipped before it."""

    index: int
    told: tuple[int, ...]
    image: Tensor
    mask: Tensor | None
    missed: dict[Path, str]


class Latents:
    """Latents of the pictures by index.

    kept: where they are cached; None: they are encoded each time.
    """

    def __init__(self, sources: list[Source], encode: Encode, kept: Kept | None = None) -> None:
        self._sources, self._encode, self._kept = sources, encode, kept
        self._broken: dict[Path, str] = {}
        self._by_bucket: dict[Size, list[int]] = {}
        for index, source in enumerate(sources):
            self._by_bucket.setdefault(source.place.bucket, []).append(index)

    def __len__(self) -> int:
        return len(self._sources)

    def only(self, sources: list[Source]) -> Latents:
        """The dataset of some of the pictures, with new indices and their cached latents."""
        return Latents(sources, self._encode, self._kept)

    def lacking(self) -> set[Source]:
        """What cache() would encode."""
        return set(self._kept.lacking(self._sources)) if self._kept else set()

    def cache(
        self, lacking: set[Source], batch_size: int, seed: int, progress: Progress, rank: int = 0, processes: int = 1
    ) -> dict[Path, str]:
        """Encode and cache what is missing; threads read pictures ahead. Returns those that cannot be read.

        rank: this process's among those that share the work.
        """
        assert self._kept is not None
        unreadable: dict[Path, str] = {}
        indices = {source: index for index, source in reversed(list(enumerate(self._sources))) if source in lacking}
        mine = sorted(indices.values())[rank::processes]
        groups = [group for bucket in self._by_bucket.values() for group in _groups(mine, bucket, batch_size)]
        done = len(self._sources) - len(mine)
        if progress(done, len(self._sources)):
            return unreadable
        readers = min(MOST_READERS, os.cpu_count() or 1)
        with ThreadPoolExecutor(max_workers=readers) as pool:
            many = batch_size + max(READ_AHEAD, readers)
            read = _ahead(pool, self._read, (index for group in groups for index in group), many)
            for group in groups:
                ready = []
                for index in group:
                    try:
                        ready.append((index, *next(read).result()))
                    except UnreadablePicture as error:
                        unreadable[self._sources[index].picture] = error.why
                if ready:
                    self._keep(ready, seed)
                done += len(group)
                if progress(done, len(self._sources)):
                    break
        return unreadable

    def read(self, batch: MicroBatch) -> Loaded:
        """What a batch is made from; may be called from several threads.

        How each picture is shown depends on the batch's seed. One that cannot be read is replaced by the next readable
        one of its size.  Raises UnreadablePicture if there is none.
        """
        return self._loaded(
            [self._first_readable(index, batch.seed, place) for place, index in enumerate(batch.pictures)]
        )

    def read_alone(self, index: int, seed: int) -> Loaded:
        """One picture, never replaced by another.  seed: of how it is shown.

        Raises UnreadablePicture, and from then on always.
        """
        return self._loaded([self._found(index, seed, 0)])

    def _loaded(self, found: list[_Found]) -> Loaded:
        images = torch.stack([one.image for one in found])
        return Loaded(
            pictures=tuple(one.index for one in found),
            latents=images if self._kept else None,
            pixels=None if self._kept else images,
            sizes=torch.tensor([one.told for one in found]),
            mask=_together([one.mask for one in found]),
            missed={picture: why for one in found for picture, why in one.missed.items()},
        )

    def shown(self, loaded: Loaded) -> Shown:
        """What was read, as latents: for pixels, the VAE samples with torch's generator."""
        latents = loaded.latents
        if latents is None:
            assert loaded.pixels is not None
            latents = self._encoded(loaded.pixels, None, loaded.pictures)
        mask = loaded.mask
        if mask is not None and mask.shape[-2:] != latents.shape[-2:]:
            mask = torch.stack([of_latents(one, latents) for one in mask])
        return Shown(loaded.pictures, latents, loaded.sizes, mask)

    def _first_readable(self, index: int, seed: int, place: int) -> _Found:
        missed: dict[Path, str] = {}
        for candidate in self._or_others(index):
            known = self._sources[candidate].picture in self._broken
            try:
                return replace(self._found(candidate, seed, place), missed=missed)
            except UnreadablePicture as error:
                if not known:
                    missed[error.file] = error.why
        picture = self._sources[index].picture
        raise UnreadablePicture(picture, self._broken[picture])

    def _found(self, index: int, seed: int, place: int) -> _Found:
        """Raises UnreadablePicture, and from then on always, without looking again."""
        source, kept = self._sources[index], self._kept
        if source.picture in self._broken:
            raise UnreadablePicture(source.picture, self._broken[source.picture])
        view = view_of(source, random.Random(derived_seed(seed, "view", place)))
        try:
            image, mask = kept.get(source, view.flipped) if kept else self._read(index, view)
        except (UnreadablePicture, OSError, ValueError) as error:
            why = error.why if isinstance(error, UnreadablePicture) else str(error)
            self._broken[source.picture] = why
            raise UnreadablePicture(source.picture, why) from error
        return _Found(index, view.placed(source.place).told(view.flipped), image, mask, {})

    def _or_others(self, index: int) -> Iterator[int]:
        """A picture, then those of its size after it, then those before it."""
        yield index
        same_size = self._by_bucket[self._sources[index].place.bucket]
        here = same_size.index(index)
        yield from same_size[here + 1 :]
        yield from same_size[:here]

    def _keep(self, ready: list[tuple[int, Tensor, Tensor | None]], seed: int) -> None:
        assert self._kept is not None
        pixels = torch.stack([image for _, image, _ in ready])
        encoded: list[Tensor | None] = [None, None]
        indices = [index for index, _, _ in ready]
        for flipped in (False, True) if any(self._sources[index].flips for index in indices) else (False,):
            noise = [
                torch.Generator().manual_seed(self._kept.draw_seed(seed, index, self._sources[index], flipped))
                for index in indices
            ]
            encoded[flipped] = self._encoded(pixels.flip(-1) if flipped else pixels, noise, indices).cpu()
        plain, mirrored = encoded
        assert plain is not None
        for place, (index, _, mask) in enumerate(ready):
            source = self._sources[index]
            flipped_too = mirrored[place] if mirrored is not None and source.flips else None
            self._kept.keep(source, plain[place], flipped_too, mask)

    def _encoded(self, pixels: Tensor, noise: list[torch.Generator] | None, indices: Sequence[int]) -> Tensor:
        """Raises Failure if the VAE returns NaN, which would never leave the weights again."""
        latents = self._encode(pixels, noise)
        for index, latent in zip(indices, latents, strict=True):
            if not latent.isfinite().all():
                raise Failure(
                    f"The VAE returns NaN for {self._sources[index].picture}: half precision is not enough for it, as "
                    "with SDXL's original VAE.",
                    "Set Mixed precision to bf16 or no; for SDXL, turning on No half VAE is enough.",
                    "mixed_precision",
                )
        return latents

    def _read(self, index: int, view: View | None = None) -> tuple[Tensor, Tensor | None]:
        """Pixels, and the mask if masks are used."""
        source, view = self._sources[index], view or View()
        if source.masked:
            return read_masked(source.picture, source.place, view, source.mask)
        return read_picture(source.picture, source.place, view), None


def together(several: Sequence[Shown]) -> Shown:
    """Pictures of one size, as one batch."""
    return Shown(
        tuple(index for one in several for index in one.pictures),
        torch.cat([one.latents for one in several]),
        torch.cat([one.sizes for one in several]),
        _together(
            [mask for one in several for mask in (one.mask if one.mask is not None else [None] * len(one.pictures))]
        ),
    )


def _together(masks: list[Tensor | None]) -> Tensor | None:
    """A batch of masks; pictures without one count fully."""
    some = next((mask for mask in masks if mask is not None), None)
    return None if some is None else torch.stack([torch.ones_like(some) if mask is None else mask for mask in masks])


def _groups(wanted: list[int], bucket: list[int], size: int) -> Iterator[list[int]]:
    """The wanted pictures of each bucket, in portions."""
    chosen = sorted(set(wanted) & set(bucket))
    yield from (chosen[i : i + size] for i in range(0, len(chosen), size))


def _ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], of: Iterable[T], many: int) -> Iterator[Future[R]]:
    """work() for all in order, up to `many` ahead of the one in use."""
    rest = iter(of)
    waiting = [pool.submit(work, one) for one in islice(rest, many)]
    while waiting:
        yield waiting.pop(0)
        waiting += [pool.submit(work, one) for one in islice(rest, 1)]
