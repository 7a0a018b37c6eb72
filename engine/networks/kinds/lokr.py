"""LoKr: the change is the Kronecker product of a small matrix and a larger one, which may be of low rank.

Source: Edalati et al. 2022, KronA, arXiv:2212.10650; Yeh et al. 2023, LyCORIS, arXiv:2309.14859.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from engine.networks.dora import with_dora
from engine.networks.kind import Kind, Original, Site, drawn, strength, tucker_of
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class LoKr(Kind):
    """ΔW = strength · w1 ⊗ w2.

    factor: the sides of w1, at most and as near to it as they divide the weight's; -1 for as near to its root.
    both: w1 is of low rank as well, where it is large enough.  tucker: w2 of a wide convolution has a core tensor.
    whole: no matrix is taken apart; nor is one with a rank of half its sides or more, as with the 100000 of LyCORIS's
    users.  unbalanced: the rows of w1 are as many as those of w2 would be, and the other way round.
    """

    factor: int = -1
    both: bool = False
    tucker: bool = False
    whole: bool = False
    unbalanced: bool = False

    is_product = True
    fast = ("lokr_w2", "lokr_w2_b")
    linear = ("lokr_w1", "lokr_w1_a")

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        (a, c), (b, d), kernel = self._sides(site)
        rank = site.rank
        tensors: dict[str, Tensor] = {}
        if not self._w1_is_whole(rank, a, b):
            tensors |= {"lokr_w1_a": drawn(a, rank), "lokr_w1_b": drawn(rank, b)}
        else:
            tensors["lokr_w1"] = drawn(a, b)
        if self._w2_is_whole(rank, c, d):
            tensors["lokr_w2"] = torch.zeros(c, d, *kernel)
        elif self.tucker and site.is_wide:
            tensors["lokr_t2"] = drawn(rank, rank, *kernel)
            tensors |= {"lokr_w2_a": drawn(rank, c), "lokr_w2_b": torch.zeros(rank, d)}
        else:
            tensors |= {"lokr_w2_a": drawn(c, rank), "lokr_w2_b": torch.zeros(rank, d * prod(kernel))}
        return tensors

    def fixed(self, site: Site) -> dict[str, Tensor]:
        return super().fixed(self._told(site))

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        from lycoris.functional.lokr import kron_weight

        names = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b")
        weights = {name: trained.get(f"lokr_{name}") for name in names}
        core = trained.get("lokr_t2")
        w2_b, kernel = weights["w2_b"], site.shape[2:]
        if w2_b is not None and kernel and core is None:
            weights["w2_b"] = w2_b.view(len(w2_b), -1, *kernel)
        is_low = any(weights[name] is not None for name in ("w1_a", "w2_a"))  # also in a file of another factor
        changed: Tensor = kron_weight(*weights.values(), core, strength(site) if is_low else 1.0, backend="torch")
        return changed.reshape(site.shape)

    def _told(self, site: Site) -> Site:
        """Where nothing is of low rank, no alpha acts: LyCORIS's rule, which readers of the files follow."""
        (a, c), (b, d), _ = self._sides(site)
        is_whole = self._w1_is_whole(site.rank, a, b) and self._w2_is_whole(site.rank, c, d)
        return Site(site.shape, site.rank, float(site.rank)) if is_whole else site

    def _w1_is_whole(self, rank: int, rows: int, columns: int) -> bool:
        return self.whole or not self.both or rank >= max(rows, columns) / 2

    def _w2_is_whole(self, rank: int, rows: int, columns: int) -> bool:
        return self.whole or rank >= max(rows, columns) / 2

    def _sides(self, site: Site) -> tuple[tuple[int, int], tuple[int, int], list[int]]:
        """((rows of w1, of w2), (columns of w1, of w2), kernel)."""
        from lycoris.functional.general import factorization

        out, into, *kernel = site.shape
        rows = factorization(out, self.factor)
        return rows[::-1] if self.unbalanced else rows, factorization(into, self.factor), kernel


def _of(settings: TrainingSettings) -> Kind:
    options = ("lokr_factor", "decompose_both", "full_matrix", "unbalanced_factorization")
    factor, both, whole, unbalanced = (settings.applied(name) for name in options)
    return with_dora(LoKr(factor, both, tucker_of(settings), whole, unbalanced), settings)


KINDS = {"LyCORIS/LoKr": _of, "Kohya LoKr": _of}
