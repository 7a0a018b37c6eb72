"""DoRA: the size of each row of the weight is learned apart from its direction (Liu et al. 2024, arXiv:2402.09353)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.kind import Kind, Original, Site
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class DoRA(Kind):
    """W + ΔW = dora_scale · (W + δ) / ‖W + δ‖, where another kind makes δ.

    on_output: a size for each output, else for each input.  Source: equation 5, by whose section 4.3 gradients could
    also leave out the norm; LyCORIS, whose files these are, does not.
    """

    inner: Kind
    on_output: bool = True

    @property
    def fast(self) -> Sequence[str]:  # type: ignore[override]
        return self.inner.fast

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        return {**self.inner.begin(site, original), "dora_scale": self._norm(original().float()).clone()}

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return self.inner.fixed(site)

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        weight, scale = original(), trained["dora_scale"]
        turned = weight.to(scale.dtype) + self.inner.change(trained, site, original).to(scale.dtype)
        return turned * (scale / self._norm(turned)) - weight.to(scale.dtype)

    def _norm(self, weight: Tensor) -> Tensor:
        """(out, 1, …) or (1, in, …)."""
        kept = 0 if self.on_output else 1
        over = [side for side in range(weight.dim()) if side != kept]
        return torch.linalg.vector_norm(weight, dim=over, keepdim=True)


def with_dora(kind: Kind, settings: TrainingSettings) -> Kind:
    """The kind, or DoRA around it where the settings of a LyCORIS network say so."""
    of_lycoris = settings.network.lora_type.startswith("LyCORIS/")
    return DoRA(kind) if of_lycoris and settings.lycoris.dora_wd else kind
