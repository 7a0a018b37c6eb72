"""T-LoRA: the noisier a picture, the fewer ranks learn from it (Soboleva et al. 2025, arXiv:2507.05964)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.networks.kind import Site
from engine.networks.kinds.locon import LoCon
from engine.settings.training import TrainingSettings

TIMESTEPS = 1000


@dataclass(frozen=True)
class TLoRA(LoCon):
    """At timestep t, of T = 1000, the first ⌊((T − t)/T)^exponent · (rank − least)⌋ + least ranks act.

    On the denoiser alone.  These are the paper's masks, with a LoRA that begins as usual: its orthogonal matrices would
    need another file.
    """

    least: int = 1
    exponent: float = 1.0

    def between(self, site: Site, timesteps: Tensor) -> Tensor:
        least = min(self.least, site.rank)
        share = (1 - timesteps.double().clamp(0, TIMESTEPS) / TIMESTEPS) ** self.exponent
        acting = (share * (site.rank - least)).floor() + least
        return (torch.arange(site.rank, device=timesteps.device) < acting[:, None]).float()


def _of(settings: TrainingSettings) -> TLoRA:
    return TLoRA(least=settings.network.tlora_least_rank, exponent=settings.network.tlora_exponent)


KINDS = {"T-LoRA": _of}
