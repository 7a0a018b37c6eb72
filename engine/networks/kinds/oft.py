"""OFT: the weight is turned, by rotations of blocks of its outputs (Qiu et al. 2023, arXiv:2306.07280), or by stages of
them that mix all outputs: BOFT (Liu et al. 2024, arXiv:2311.06243)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.networks.kind import Kind, Original, Site
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class OFT(Kind):
    """ΔW = (R − I) · W, with R of blocks (I + Q)(I − Q)⁻¹ of a skew Q (Cayley).

    butterfly: several stages.  constraint: the largest norm of all Q together, as a share of the outputs; 0 for none.
    rescaled: every output is also scaled by a number that is learned.  The rank is the largest side of a block.
    """

    butterfly: bool = False
    constraint: float = 0.0
    rescaled: bool = False

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        tensors = {"oft_blocks": torch.zeros(self._blocks(site))}
        if self.rescaled:
            tensors["rescale"] = torch.ones(site.shape[0], *[1] * (len(site.shape) - 1))
        return tensors

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return {"alpha": torch.tensor(float(self.constraint))}

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        from lycoris.functional import boft, diag_oft

        blocks, rescale = trained["oft_blocks"].float(), trained.get("rescale")
        maths: Any = boft if self.butterfly else diag_oft
        changed: Tensor = maths.diff_weight(
            original().float(), blocks, rescale, constraint=self.constraint * site.shape[0], backend="torch"
        )
        return changed

    def _blocks(self, site: Site) -> tuple[int, ...]:
        """(blocks, side, side), of a butterfly with its stages before: as many as mix all blocks."""
        from lycoris.functional.general import factorization, power2factorization

        if not self.butterfly:
            side, count = factorization(site.shape[0], site.rank)
            return count, side, side
        _refuse_unequal(site)
        side, count = power2factorization(site.shape[0], site.rank)
        return count.bit_length(), count, side, side


def _refuse_unequal(site: Site) -> None:
    """A butterfly's stages halve the blocks, so their count is a power of 2.  Raises Failure where there is none."""
    out = site.shape[0]
    least = 2 * out // (out & -out)
    if out % 2:
        raise Failure(
            f"LyCORIS/BOFT cannot train a layer with {out} outputs, an odd number.", "Choose LyCORIS/Diag-OFT."
        )
    if site.rank < least:
        raise Failure(
            f"LyCORIS/BOFT cannot divide the {out} outputs of a layer into blocks of {site.rank} or fewer.",
            f"Set the rank to {least} or more, or choose LyCORIS/Diag-OFT.",
            "conv_dim" if site.is_wide else "network_dim",
        )


def _of(settings: TrainingSettings, butterfly: bool = False) -> OFT:
    return OFT(butterfly, settings.lycoris.oft_constrain, settings.lycoris.oft_rescaled)


KINDS = {"LyCORIS/Diag-OFT": _of, "LyCORIS/BOFT": lambda settings: _of(settings, butterfly=True)}
