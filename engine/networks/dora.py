"""DoRA: the size of each row of the weight is learned apart from its direction (Liu et al. 2024, arXiv:2402.09353)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.networks.kind import Kind, Original, Site
from engine.networks.scalar import with_scalar
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class DoRA(Kind):
    """W + ΔW = dora_scale · (W + δ) / ‖W + δ‖, where another kind makes δ.

    A size for each output; all in float32, since the difference is small beside the weights.  Source: equation 5; by
    section 4.3 gradients could also leave out the norm, but LyCORIS, whose files these are, does not.
    """

    inner: Kind

    exact = ("dora_scale",)

    @property
    def fast(self) -> Sequence[str]:  # type: ignore[override]
        return self.inner.fast

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        return {**self.inner.begin(site, original), "dora_scale": _norm(original().float())}

    def draw(self, site: Site) -> Any:
        return self.inner.draw(site)

    def acting(self, trained: Mapping[str, Tensor], site: Site, draw: Any) -> Mapping[str, Tensor]:
        return self.inner.acting(trained, site, draw)

    def in_file(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return self.inner.in_file(trained)

    def from_file(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return self.inner.from_file(tensors)

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return self.inner.fixed(site)

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        weight = original().float()
        turned = weight + self.inner.change(trained, site, original).float()
        return turned * (trained["dora_scale"] / _norm(turned)) - weight


def _norm(weight: Tensor) -> Tensor:
    """(out, 1, …)"""
    return torch.linalg.vector_norm(weight, dim=list(range(1, weight.dim())), keepdim=True)


def with_dora(kind: Kind, settings: TrainingSettings) -> Kind:
    """The kind, with a trained number before it and DoRA around it where the settings say so."""
    kind = with_scalar(kind, settings)
    return DoRA(kind) if settings.applied("dora_wd") else kind
