"""DyLoRA: a LoRA that serves at lower ranks too, cut off after any of its blocks of ranks (Valipour et al. 2022,
arXiv:2210.07558)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.failure import Failure
from engine.networks.kind import Original, Site
from engine.networks.kinds.locon import LoCon
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class DyLoRA(LoCon):
    """Each pass in training draws one block of ranks: it learns, those before it act as they are, later ones do not.

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
        return super().begin(site, original)

    def draw(self, site: Site) -> int:
        """The first rank of the block."""
        return int(torch.randint(site.rank // self.block, ())) * self.block

    def acting(self, trained: Mapping[str, Tensor], site: Site, draw: int) -> Mapping[str, Tensor]:
        down, up = trained["lora_down.weight"], trained["lora_up.weight"]
        end = draw + self.block
        down = torch.cat([down[:draw].detach(), down[draw:end]])
        up = torch.cat([up[:, :draw].detach(), up[:, draw:end]], dim=1)
        return {"lora_down.weight": down, "lora_up.weight": up * (site.rank / end) ** self.made_up}


def _of_lycoris(settings: TrainingSettings) -> DyLoRA:
    """Its strength is alpha ÷ the ranks that act."""
    return DyLoRA(block=settings.lycoris.dylora_unit)


def _of_kohya(settings: TrainingSettings) -> DyLoRA:
    """Its strength is alpha ÷ √(all ranks · those that act), as the authors' own code has it."""
    return DyLoRA(block=settings.lycoris.dylora_unit, made_up=0.5)


KINDS = {"LyCORIS/DyLoRA": _of_lycoris, "Kohya DyLoRA": _of_kohya}
