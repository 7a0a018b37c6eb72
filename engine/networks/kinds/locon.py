"""LoCon: LoRA on convolutions as well (Yeh et al. 2023, LyCORIS, arXiv:2309.14859), as a change of the weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.stored import Stored
from engine.networks.dora import with_dora
from engine.networks.kind import Kind, Original, Site, drawn, strength, tucker_of
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class LoCon(Kind):
    """ΔW = strength · up · down; of wide convolutions with a core between the two, if `tucker`."""

    tucker: bool = False

    fast = ("lora_up.weight",)
    linear = ("lora_up.weight",)
    is_product = True

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        out, into, *kernel = site.shape
        point = [1] * len(kernel)
        core = self.tucker and site.is_wide
        tensors = {
            "lora_down.weight": drawn(site.rank, into, *(point if core else kernel)),
            "lora_up.weight": torch.zeros(out, site.rank, *point),
        }
        if core:
            tensors["lora_mid.weight"] = drawn(site.rank, site.rank, *kernel)
        return tensors

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        down, up, core = (trained.get(f"lora_{name}.weight") for name in ("down", "up", "mid"))
        assert down is not None
        assert up is not None
        if core is not None:
            changed = torch.einsum("mn...,im,nj->ij...", core, up.flatten(1), down.flatten(1))
        else:
            changed = (up.flatten(1) @ down.flatten(1)).view(site.shape)
        return changed * strength(site)

    def chain(self, trained: Mapping[str, Tensor], site: Site, original: Stored) -> list[Tensor]:
        weights = [trained.get(f"lora_{name}.weight") for name in ("down", "mid", "up")]
        *before, up = [weight for weight in weights if weight is not None]
        return [*before, up * strength(site)]


def _of(settings: TrainingSettings) -> Kind:
    return with_dora(LoCon(tucker_of(settings)), settings)


KINDS = {"LyCORIS/LoCon": _of}
