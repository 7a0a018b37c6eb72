"""Where latents are cached: in memory, or in files next to the pictures."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.data.batches import derived_seed
from engine.data.latent_files import Array, LatentFiles, LatentFormat, Wanted
from engine.data.source import Source
from engine.disk import why_not
from engine.failure import Failure

KeptLatents = tuple[Tensor, Tensor | None]
"""Latents (C, h, w) in the model's scale, and the mask (h, w) if one is used."""


class Kept(Protocol):
    def lacking(self, sources: list[Source]) -> list[Source]:
        """The pictures still to be encoded."""

    def keep(self, source: Source, latents: Tensor, flipped: Tensor | None, mask: Tensor | None) -> None:
        """latents, flipped: (C, h, w).  mask: (height, width) of the pixels."""

    def get(self, source: Source, flipped: bool) -> KeptLatents:
        """Raises OSError or ValueError if it is gone."""

    def draw_seed(self, seed: int, index: int, source: Source, flipped: bool) -> int:
        """Seed for sampling from the VAE's distribution.  seed: the run's.  index: the picture's."""


class InMemory:
    def __init__(self) -> None:
        self._latents: dict[tuple[Source, bool], Tensor] = {}
        self._masks: dict[Source, Tensor] = {}

    def lacking(self, sources: list[Source]) -> list[Source]:
        return [source for source in dict.fromkeys(sources) if (source, False) not in self._latents]

    def keep(self, source: Source, latents: Tensor, flipped: Tensor | None, mask: Tensor | None) -> None:
        self._latents[source, False] = latents
        if flipped is not None:
            self._latents[source, True] = flipped
        if mask is not None:
            self._masks[source] = of_latents(mask, latents)

    def get(self, source: Source, flipped: bool) -> KeptLatents:
        mask = self._masks.get(source)
        return self._latents[source, flipped], mask.flip(-1) if mask is not None and flipped else mask

    def draw_seed(self, seed: int, index: int, source: Source, flipped: bool) -> int:
        return derived_seed(seed, "latents", index, flipped)


class OnDisk:
    """The VAE sample only depends on the picture's name: the next run, with another seed, reads it too.

    written: how many pictures' latents were saved.  stride: pixels per latent.
    """

    def __init__(self, form: LatentFormat, wanted: Wanted) -> None:
        self._format, self.files = form, LatentFiles(form, wanted)
        self.written, self.stride = 0, form.stride

    def lacking(self, sources: list[Source]) -> list[Source]:
        return self.files.lacking(sources)

    def keep(self, source: Source, latents: Tensor, flipped: Tensor | None, mask: Tensor | None) -> None:
        try:
            self.files.write(
                source,
                self._to_file(latents),
                None if flipped is None else self._to_file(flipped),
                None if mask is None else mask.numpy(),
            )
        except OSError as error:
            raise Failure(
                f"The latents of {source.picture} cannot be saved next to it: {why_not(error)}.",
                "Free up some space, allow writing there, or turn off Cache latents to disk.",
                "cache_latents_to_disk",
            ) from error
        self.written += 1

    def get(self, source: Source, flipped: bool) -> KeptLatents:
        kept, mask = self.files.read(source, flipped)
        latents = (torch.from_numpy(kept).float() - self._format.shift) * self._format.scale
        return latents, None if mask is None else of_latents(torch.from_numpy(mask.copy()).float(), latents)

    def draw_seed(self, seed: int, index: int, source: Source, flipped: bool) -> int:
        return derived_seed("latents", source.picture.name, flipped)

    def _to_file(self, latents: Tensor) -> Array:
        kept: Array = (latents / self._format.scale + self._format.shift).numpy()
        return kept


def of_latents(mask: Tensor, latents: Tensor) -> Tensor:
    """A mask (height, width) at the latents' size: each is the mean of its pixels."""
    return F.interpolate(mask[None, None], size=latents.shape[-2:], mode="area")[0, 0]
