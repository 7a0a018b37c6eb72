"""How many layers a network is on, how many numbers it trains, and how large its file will be: known before a start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from engine.models.targets import Target, is_norm
from engine.networks.held import Held
from engine.networks.kind import Kind, Site, site_of
from engine.networks.made import kind_of, rated, trained_layers
from engine.networks.shares import Shares
from engine.networks.sizes_in_file import sizes_in_file
from engine.settings.network import WITH_FROZEN_DOWN
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
    trained = rated(targets, settings)
    kept, shares = trained_layers(trained, Shares(settings))
    sizes = sizes_in_file(settings, kept)
    kind, frozen_down = kind_of(settings), settings.network.lora_type in WITH_FROZEN_DOWN
    apart = settings.applied("split_qkv")
    known: dict[object, tuple[list[int], list[int]]] = {}
    tensors, parameters, stored, narrow = 0, 0, 0, 0
    for target in kept:
        for attachment in target.attachments:
            layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
            share = shares[attachment.name]
            held = sizes.get(attachment.name)
            rank, alpha = (held.rank, held.alpha) if held and held.rank else (share.rank, share.alpha)
            site, of_norm = site_of(target, attachment, rank, alpha), is_norm(layers[0])
            here = kind.at(attachment) if kind else None
            alike = site, here, of_norm, held and (*held.shapes.items(),)  # most layers are like others
            if alike not in known:
                known[alike] = _of_norm(site) if of_norm else _of(here, site, held, frozen_down, apart)
            learned, written = known[alike]
            tensors, stored, parameters = tensors + len(written), stored + sum(written), parameters + sum(learned)
            narrow += not of_norm and site.rank > min(site.shape[0], prod(site.shape[1:]))
    each = 4 if settings.source_model.save_precision == "float" else 2
    size = stored * each + tensors * PER_TENSOR + WORDS
    return Count(len(shares), sum(len(target.attachments) for target in trained), parameters, size, narrow)


def _of(
    kind: Kind | None, site: Site, held: Held | None, frozen_down: bool, apart: bool
) -> tuple[list[int], list[int]]:
    """How many numbers each tensor has: of those that are trained, and of those in the file.

    held: of a file whose sizes are to be this layer's.
    """
    if kind is None:
        parts = len(site.rows) if apart else 1
        down, up = parts * site.rank * prod(site.shape[1:]), site.shape[0] * site.rank
        return ([up] if frozen_down else [down, up]), [down, parts * up, 1]
    with torch.device("meta"):
        begun = kind.begin(site, lambda: torch.empty(site.shape))
        fixed = kind.fixed(site)
        if held:
            sized = held.as_in({name: tuple(tensor.shape) for name, tensor in kind.in_file(begun).items()})
            given = {end: one for end, one in sized.tensors.items() if end not in fixed}
            begun = dict(kind.from_file(given, site))
        written = [*kind.in_file(begun).values(), *fixed.values()]
    return [tensor.numel() for tensor in begun.values()], [tensor.numel() for tensor in written]


def _of_norm(site: Site) -> tuple[list[int], list[int]]:
    sizes = [site.shape[0]] * (1 + site.biased)
    return sizes, sizes
