"""What is read of a batch before its step comes: its pictures, and the conditioning of their captions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.data.batches import MicroBatch
from engine.data.dataset import Latents, Loaded
from engine.models.conditioning import Conditioning
from engine.training.conditioning import CaptionConditioning


@dataclass(frozen=True)
class Read:
    """conditioning: see CaptionConditioning.read()."""

    pictures: Loaded
    conditioning: Conditioning | None


class Reader:
    """Called by threads, a batch each; so nothing in it draws from torch's generator."""

    def __init__(self, latents: Latents, conditioning: CaptionConditioning) -> None:
        self._latents, self._conditioning = latents, conditioning

    def __call__(self, batch: MicroBatch) -> Read:
        """A picture that cannot be read is replaced by another, whose caption it then is.  Raises Failure."""
        loaded = self._latents.read(batch)
        return Read(loaded, self._conditioning.read(replace(batch, pictures=loaded.pictures)))
