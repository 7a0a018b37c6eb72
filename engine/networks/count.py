"""How many layers a network is on, how many numbers it trains, and how large its file will be: known before a start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch

from engine.models.targets import Target, shape_of
from engine.networks.kind import Kind, Site
from engine.networks.made import kind_of, trained_layers
from engine.networks.shares import Share, Shares
from engine.settings.training import TrainingSettings

PER_TENSOR = 110
"""Bytes of a file's header for each tensor: its name, shape, format and place."""

WORDS = 3000
"""Bytes of a file's words about its training."""


@dataclass(frozen=True)
class Count:
    """layers: with a network, of those that it could be on.  parameters: that are trained.  file: bytes, about.

    too_narrow: layers whose weight has fewer rows or columns than their rank.
    """

    layers: int
    of: int
    parameters: int
    file: int
    too_narrow: int


def count(settings: TrainingSettings, targets: Iterable[Target]) -> Count:
    """targets: of a model, which may be without weights.  Raises Failure where the settings cannot be read."""
    unet_rate, text_encoder_rate = settings.optimizer.rates()
    rates = {"unet": unet_rate, "text_encoder": text_encoder_rate}
    trained = [target for target in targets if rates[target.group] > 0]
    kept, shares = trained_layers(trained, Shares(settings))
    kind = kind_of(settings)
    known: dict[tuple[tuple[int, ...], int], list[int]] = {}
    tensors, parameters, stored, narrow = 0, 0, 0, 0
    for target in kept:
        for attachment in target.attachments:
            shape, share = shape_of(target, attachment), shares[attachment.name]
            if (shape, share.rank) not in known:  # most layers are like others
                known[shape, share.rank] = _sizes(kind, shape, share)
            sizes = known[shape, share.rank]
            fixed = len(kind.fixed(Site(shape, share.rank, share.alpha))) if kind else 1
            tensors, stored = tensors + len(sizes) + fixed, stored + sum(sizes) + fixed
            parameters += sum(sizes)
            narrow += share.rank > min(shape[0], prod(shape[1:]))
    each = 4 if settings.source_model.save_precision == "float" else 2
    size = stored * each + tensors * PER_TENSOR + WORDS
    return Count(len(shares), sum(len(target.attachments) for target in trained), parameters, size, narrow)


def _sizes(kind: Kind | None, shape: tuple[int, ...], share: Share) -> list[int]:
    """How many numbers each trained tensor has of a layer with a weight of this shape."""
    if kind is None:
        return [share.rank * prod(shape[1:]), shape[0] * share.rank]
    site = Site(shape, share.rank, share.alpha)
    with torch.device("meta"):
        return [tensor.numel() for tensor in kind.begin(site, lambda: torch.empty(shape)).values()]
