"""DoRA: the norms of the weight's rows are learned apart from their directions (Liu et al. 2024, arXiv:2402.09353)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.models.stored import Stored
from engine.networks.kind import Kind, Original, Site
from engine.networks.magnitudes import LEAST_NORM
from engine.networks.scalar import with_scalar
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class DoRA(Kind):
    """W + ΔW = dora_scale · (W + δ) / ‖W + δ‖, where another kind makes δ.

    A norm for each output, of its row; on_input, for each input, of its column.  All in float32, since the difference
    is small beside the weights.  Source: equation 5; by section 4.3 gradients could also leave out the norm, but
    LyCORIS, whose files these are, does not.
    """

    inner: Kind
    on_input: bool = False

    exact = ("dora_scale",)

    @property
    def fast(self) -> Sequence[str]:  # type: ignore[override]
        return self.inner.fast

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        return {**self.inner.begin(site, original), "dora_scale": self._norms(original().float())}

    def draw(self, site: Site) -> Any:
        return self.inner.draw(site)

    def acting(self, trained: Mapping[str, Tensor], site: Site, draw: Any) -> Mapping[str, Tensor]:
        return self.inner.acting(trained, site, draw)

    def in_file(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return self.inner.in_file(trained)

    def from_file(self, tensors: Mapping[str, Tensor], site: Site) -> Mapping[str, Tensor]:
        return self.inner.from_file(tensors, site)

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return self.inner.fixed(site)

    def chain(self, trained: Mapping[str, Tensor], site: Site, original: Stored) -> list[Tensor] | None:
        return None if self.on_input else self.inner.chain(trained, site, original)

    def row_norms(self, trained: Mapping[str, Tensor]) -> Tensor:
        return trained["dora_scale"]

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        weight = original().float()
        turned = weight + self.inner.change(trained, site, original).float()
        return turned * (trained["dora_scale"] / self._norms(turned).clamp(min=LEAST_NORM)) - weight

    def _norms(self, weight: Tensor) -> Tensor:
        """(out, 1, …), or (1, in, …)."""
        along = 1 if self.on_input else 0
        others = [side for side in range(weight.dim()) if side != along]
        return torch.linalg.vector_norm(weight, dim=others, keepdim=True)


def with_dora(kind: Kind, settings: TrainingSettings) -> Kind:
    """The kind, with a trained number before it and DoRA around it where the settings say so."""
    kind = with_scalar(kind, settings)
    return DoRA(kind, not settings.applied("wd_on_output")) if settings.applied("dora_wd") else kind
