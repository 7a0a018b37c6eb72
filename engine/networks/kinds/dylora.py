"""DyLoRA: a LoRA that serves at lower ranks too, cut off after any of its blocks of ranks (Valipour et al. 2022,
arXiv:2210.07558)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.stored import Stored
from engine.networks.kind import Original, Site, whole_name
from engine.networks.kinds.locon import LoCon
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class DyLoRA(LoCon):
    """Each pass in training draws one block of ranks: it learns, those before it act as they are, later ones do not.

    Each block is trained as tensors of its own, so that no optimizer moves one that has no gradient.

    block: how many ranks are one.  made_up: of r ranks, b that act do so (r/b)^made_up times as strong as in the file.
    """

    block: int = 1
    made_up: float = 1.0

    def begin(self, site: Site, original: Original) -> dict[str, Tensor]:
        if site.rank % self.block:
            raise Failure(
                f"DyLoRA trains ranks in groups of {self.block}, and a layer's rank of {site.rank} cannot be divided "
                "into such groups.",
                "Set DyLoRA Unit to a number that divides all ranks.",
                "dylora_unit",
            )
        return dict(self.from_file(super().begin(site, original), site))

    def draw(self, site: Site) -> int:
        """The number of the block."""
        return int(torch.randint(site.rank // self.block, ()))

    def acting(self, trained: Mapping[str, Tensor], site: Site, draw: int) -> Mapping[str, Tensor]:
        used = {
            f"{name}/{number}": trained[f"{name}/{number}"].detach() if number < draw else trained[f"{name}/{number}"]
            for name in _RANKS
            for number in range(draw + 1)
        }
        ranks, whole = (draw + 1) * self.block, self.in_file(used)
        return {**whole, "lora_up.weight": whole["lora_up.weight"] * (site.rank / ranks) ** self.made_up}

    def change(self, trained: Mapping[str, Tensor], site: Site, original: Original) -> Tensor:
        return super().change(self.in_file(trained), site, original)

    def chain(self, trained: Mapping[str, Tensor], site: Site, original: Stored) -> list[Tensor]:
        return super().chain(self.in_file(trained), site, original)

    def in_file(self, trained: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        blocks: dict[str, list[Tensor]] = {}
        for name, tensor in trained.items():
            blocks.setdefault(whole_name(name), []).append(tensor)
        return {
            name: tensors[0] if len(tensors) == 1 else torch.cat(tensors, _RANKS[name])
            for name, tensors in blocks.items()
        }

    def from_file(self, tensors: Mapping[str, Tensor], site: Site) -> Mapping[str, Tensor]:
        return {
            f"{name}/{number}": block.contiguous().clone()
            for name, along in _RANKS.items()
            if name in tensors
            for number, block in enumerate(tensors[name].split(self.block, along))
        }


_RANKS = {"lora_down.weight": 0, "lora_up.weight": 1}
"""Along which side they are."""


def _of_lycoris(settings: TrainingSettings) -> DyLoRA:
    """Its strength is alpha ÷ the ranks that act."""
    return DyLoRA(block=settings.lycoris.dylora_unit)


def _of_kohya(settings: TrainingSettings) -> DyLoRA:
    """Its strength is alpha ÷ √(all ranks · those that act), as the authors' own code has it."""
    return DyLoRA(block=settings.lycoris.dylora_unit, made_up=0.5)


KINDS = {"LyCORIS/DyLoRA": _of_lycoris, "Kohya DyLoRA": _of_kohya}
