"""Native fine-tuning: the change of a weight itself, as large as it, and of its bias (LyCORIS's algo=full)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.kind import Kind, Original, Site


@dataclass(frozen=True)
class Native(Kind):
    """ΔW = diff, which needs no rank, and Δb = diff_b."""

    fast = ()
    of_bias = "diff_b"
    is_product = True

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        return {"diff": torch.zeros(site.shape)} | self._of_bias(site)

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return {}

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        return trained["diff"]

    def from_file(self, tensors: Mapping[str, Tensor], site: Site) -> Mapping[str, Tensor]:
        """A file may leave biases as they are."""
        return {**self._of_bias(site), **tensors}

    @staticmethod
    def _of_bias(site: Site) -> dict[str, Tensor]:
        return {"diff_b": torch.zeros(site.shape[0])} if site.biased else {}


KINDS = {"LyCORIS/Native Fine-Tuning": lambda settings: Native()}
