"""What is read of a batch ahead of its step: its pictures, and the conditioning of their captions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from engine.data.batches import MicroBatch
from engine.data.dataset import Latents, Loaded
from engine.models.conditioning import Conditioning
from engine.training.conditioning import CaptionConditioning


@dataclass(frozen=True)
class Read:
    """conditioning: see CaptionConditioning.read()."""

    pictures: Loaded
    conditioning: Conditioning | None


def nothing_to_read(batch: MicroBatch) -> Read:
    """Of a batch without pictures."""
    return Read(Loaded(batch.pictures, None, None, torch.empty(0, 6), None, {}), None)


class Reader:
    """Called by threads, one batch each; so nothing here may draw from torch's generator."""

    def __init__(self, latents: Latents, conditioning: CaptionConditioning) -> None:
        self._latents, self._conditioning = latents, conditioning

    def __call__(self, batch: MicroBatch) -> Read:
        """A picture that cannot be read is replaced by another one with its caption.  Raises Failure."""
        loaded = self._latents.read(batch)
        return Read(loaded, self._conditioning.read(replace(batch, pictures=loaded.pictures)))
