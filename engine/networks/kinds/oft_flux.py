"""OFT as sd-scripts has it for FLUX.1: the rank is the number of blocks, alpha the constraint (Qiu et al. 2023,
arXiv:2306.07280)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.targets import Reach
from engine.networks.kind import Kind, Original, Site
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class OFTOfParts(Kind):
    """Each part of a matrix (queries, keys, values, feed forward) is turned by blocks of its own, as many as the rank.

    ΔW = (Rᵀ − I) · W with R of blocks (I + Q)(I − Q)⁻¹ of a skew Q; of all Q of a part the norm is alpha times its
    rows at most.
    """

    everywhere: bool = False

    prefix = "oft"

    @property
    def reach(self) -> Reach:  # type: ignore[override]
        """Attention of FLUX.1's double blocks, or all layers of all blocks; no text encoder."""
        return Reach(attention_only=not self.everywhere, text_encoders=False)

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        if odd := [rows for rows in site.rows if rows % site.rank]:
            raise Failure(
                f"Flux1 OFT cannot divide the {odd[0]} outputs of a layer into {site.rank} blocks of the same size.",
                "Choose a rank that divides them.",
                "network_dim",
            )
        sides = [rows // site.rank for rows in site.rows]
        return {f"oft_blocks.{part}": torch.zeros(site.rank, side, side) for part, side in enumerate(sides)}

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        from lycoris.functional import diag_oft

        parts = original().float().split(site.rows)
        changes = [
            diag_oft.diff_weight(
                part,
                trained[f"oft_blocks.{number}"].float(),
                None,
                constraint=site.alpha * len(part),
                backend="torch",
            )
            for number, part in enumerate(parts)
        ]
        return torch.cat(changes)


def _of(settings: TrainingSettings) -> OFTOfParts:
    return OFTOfParts(settings.applied("enable_all_linear"))


KINDS = {"Flux1 OFT": _of}
