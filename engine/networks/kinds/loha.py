"""LoHa: the change is the entrywise product of two low-rank matrices (Hyeon-Woo et al. 2022, FedPara, arXiv:2108.06098;
Yeh et al. 2023, LyCORIS, arXiv:2309.14859)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import init

from engine.networks.dora import with_dora
from engine.networks.kind import Kind, Original, Site, strength, tucker_of
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class LoHa(Kind):
    """ΔW = strength · (w1_a · w1_b) ⊙ (w2_a · w2_b); of wide convolutions with a core tensor a factor, if `tucker`."""

    tucker: bool = False

    fast = ("hada_w2_a",)
    linear = ("hada_w1_a",)
    is_product = True

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        out, into, *kernel = site.shape
        core = [site.rank, site.rank, *kernel] if self.tucker and site.is_wide else []
        a = (site.rank, out) if core else (out, site.rank)
        b = (site.rank, into) if core else (site.rank, into * prod(kernel))
        tensors = {
            "hada_w1_a": init.normal_(torch.empty(a), std=0.1),
            "hada_w1_b": init.normal_(torch.empty(b), std=1.0),
            "hada_w2_a": torch.zeros(a),
            "hada_w2_b": init.normal_(torch.empty(b), std=1.0),
        }
        for name in ("hada_t1", "hada_t2") if core else ():
            tensors[name] = init.normal_(torch.empty(core), std=0.1)
        return tensors

    def drawn(self, *shape: int) -> Tensor:
        return init.normal_(torch.empty(shape), std=0.1)

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        # The strength is cheapest on the smallest matrix.
        first = self._factor(trained, 1, by=strength(site))
        return (first * self._factor(trained, 2)).reshape(site.shape)

    def _factor(self, trained: Mapping[str, Tensor], number: int, by: float = 1.0) -> Tensor:
        a, b, core = (trained.get(f"hada_{name}") for name in (f"w{number}_a", f"w{number}_b", f"t{number}"))
        assert a is not None
        assert b is not None
        return a * by @ b if core is None else torch.einsum("rs...,ro,si->oi...", core, a * by, b)


def _of(settings: TrainingSettings) -> Kind:
    return with_dora(LoHa(tucker_of(settings)), settings)


KINDS = {"LyCORIS/LoHa": _of, "Kohya LoHa": _of}
