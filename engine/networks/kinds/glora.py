"""GLoRA: a low-rank change of the weight and one of what goes into it (Chavan et al. 2023, arXiv:2306.07967)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.stored import Stored
from engine.networks.kind import Kind, Original, Site, drawn, strength
from engine.networks.recomputed import original_times
from engine.networks.scalar import with_scalar


@dataclass(frozen=True)
class GLoRA(Kind):
    """ΔW = strength · (W · a1 · a2 + b1 · b2)."""

    fast = ("a2.weight", "b2.weight")
    linear = ("a2.weight", "b2.weight")

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        out, into, *kernel = site.shape
        point = [1] * len(kernel)
        return {
            "a1.weight": drawn(into, site.rank, *point),
            "a2.weight": torch.zeros(site.rank, into, *point),
            "b1.weight": drawn(out, site.rank, *point),
            "b2.weight": torch.zeros(site.rank, into, *kernel),
        }

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        a1, a2, b1, b2 = (trained[f"{name}.weight"].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        turned = torch.einsum("oi...,ir,rj->oj...", original().to(a1.dtype), a1, a2)
        return (turned + (b1 @ b2).view(site.shape)) * strength(site)

    def chain(self, trained: Mapping[str, Tensor], site: Site, original: Stored) -> list[Tensor] | None:
        """[b1, W · a1] · [b2; a2].  Of a wide convolution b2 looks at more than a2 does."""
        if site.is_wide:
            return None
        a1, a2, b1, b2 = (trained[f"{name}.weight"].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        down = torch.cat([b2, a2])
        up = torch.cat([b1, original_times(original, a1).to(b1.dtype)], dim=1) * strength(site)
        point = [1] * (len(site.shape) - 2)
        return [weight.view(*weight.shape, *point) for weight in (down, up)]


KINDS = {"LyCORIS/GLoRA": lambda settings: with_scalar(GLoRA(), settings)}
