"""Leaving parts of a low-rank network out at random while it trains, as sd-scripts does it.

peft's own lora_dropout acts on the input of the down projection, which is something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Dropouts:
    """Probabilities in [0, 1].

    network: of each value between down and up.  rank: of each rank, by sample.  module: of the whole module, by step.
    """

    network: float = 0.0
    rank: float = 0.0
    module: float = 0.0


def attach(down: nn.Module, ups: Iterable[nn.Module], dropouts: Dropouts) -> None:
    """Make the projections drop out while they are in training mode."""
    if dropouts.network or dropouts.rank:

        def between(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            return _without_some(output, dropouts) if module.training else output

        down.register_forward_hook(between)
    if dropouts.module:

        def whole(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            return output * 0 if module.training and torch.rand(()) < dropouts.module else output

        for up in ups:
            up.register_forward_hook(whole)


def _without_some(output: Tensor, dropouts: Dropouts) -> Tensor:
    """output: of down, (B, rank, h, w) of a convolution, else (B, …, rank).

    What stays is scaled up by 1/(1 − p), so that the mean stays.  Source: Srivastava et al. 2014.
    """
    output = F.dropout(output, dropouts.network)
    if not dropouts.rank:
        return output
    is_convolution = output.dim() == 4
    ranks = output.shape[1] if is_convolution else output.shape[-1]
    shape = (len(output), ranks, 1, 1) if is_convolution else (len(output), *[1] * (output.dim() - 2), ranks)
    return output * F.dropout(torch.ones(shape, device=output.device, dtype=output.dtype), dropouts.rank)
