"""GLoRA: a low-rank change of the weight and one of what goes into it (Chavan et al. 2023, arXiv:2306.07967)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.kind import Kind, Original, Site, drawn, strength
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


KINDS = {"LyCORIS/GLoRA": lambda settings: with_scalar(GLoRA(), settings)}
