"""Native fine-tuning: the change of a weight itself, as large as it (LyCORIS's algo=full)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.kind import Kind, Original, Site


@dataclass(frozen=True)
class Native(Kind):
    """ΔW = diff, which needs no rank."""

    fast = ()
    is_product = True

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        return {"diff": torch.zeros(site.shape)}

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return {}

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        return trained["diff"]


KINDS = {"LyCORIS/Native Fine-Tuning": lambda settings: Native()}
