"""Dropout for low-rank networks, as in sd-scripts.

peft's own lora_dropout acts on the input of the down projection, which is something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Dropouts:
    """Probabilities in [0, 1].

    network: of each value between down and up.  rank: of each rank, by sample.  module: of the whole module, by step.
    scales_rank: of a change of weights, what stays is scaled up by what drops.
    """

    network: float = 0.0
    rank: float = 0.0
    module: float = 0.0
    scales_rank: bool = False


def attach(layers: Iterable[nn.Module], down: nn.Module, ups: Iterable[nn.Module], dropouts: Dropouts) -> _Pass | None:
    """Apply dropout to the projections while they are in training mode.  Returns what tells of each pass, if any.

    layers: the modules that down and ups belong to.  Several of them are one matrix of the original model, so dropout
    is drawn once for all of them.
    """
    if not (dropouts.network or dropouts.rank or dropouts.module):
        return None
    drawn = _Drawn(dropouts)
    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(drawn.hook(number))
    if dropouts.network or dropouts.rank:
        down.register_forward_hook(drawn.between)
    if dropouts.module:
        for up in ups:
            up.register_forward_hook(drawn.whole)
    return drawn


class _Pass:
    """One pass through the modules of one matrix.

    Calling a module again begins the next pass. So a block recomputed for its gradients, with the same random numbers,
    draws the same dropout again.
    """

    def __init__(self, dropouts: Dropouts, draw: Callable[[], Any] = lambda: None) -> None:
        """draw: gives what else is left to chance in a pass; `drawn` in the pass."""
        self._dropouts, self._draw = dropouts, draw
        self.drawn: Any = None
        self._called: set[int] = set()
        self._mask: Tensor | None = None
        self.leaves_out = False

    def enter(self, number: int) -> None:
        """Called before the module of this number, while it trains."""
        if not self._called or number in self._called:
            self._called.clear()
            self._mask = None
            self.leaves_out = bool(self._dropouts.module and torch.rand(()) < self._dropouts.module)
            self.drawn = self._draw()
        self._called.add(number)


class RowsLeftOut(_Pass):
    """Of changes of weights: a rank is a row of the change there, as LyCORIS has it, since not all have another."""

    def kept(self, rows: int, like: Tensor) -> Tensor | None:
        """(rows,), 0 or 1 for each, or more where what stays is scaled up; None where nothing drops."""
        if not self._dropouts.rank:
            return None
        if self._mask is None:
            mask = (torch.rand(rows) > self._dropouts.rank).float()
            self._mask = mask / mask.mean().clamp(min=1 / rows) if self._dropouts.scales_rank else mask
        return self._mask.to(like.device)


class _Drawn(_Pass):
    """What is left out of the ranks between down and up."""

    def hook(self, number: int) -> Any:
        """Called before the module of this number."""

        def before(module: nn.Module, _: Any) -> None:
            if module.training:
                self.enter(number)

        return before

    def between(self, down: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not down.training:
            return output
        if self._mask is None:
            self._mask = _mask(output, self._dropouts)
        return output * self._mask

    def whole(self, up: nn.Module, _: Any, output: Tensor) -> Tensor:
        return output * 0 if up.training and self.leaves_out else output


def _mask(output: Tensor, dropouts: Dropouts) -> Tensor:
    """output: of down, (B, rank, h, w) of a convolution, else (B, …, rank).  Returns the factor to multiply it by.

    What stays is scaled up by 1/(1 − p), so that the mean stays.  Source: Srivastava et al. 2014.
    """
    mask = F.dropout(torch.ones_like(output), dropouts.network)
    if not dropouts.rank:
        return mask
    is_convolution = output.dim() == 4
    ranks = output.shape[1] if is_convolution else output.shape[-1]
    shape = (len(output), ranks, 1, 1) if is_convolution else (len(output), *[1] * (output.dim() - 2), ranks)
    return mask * F.dropout(torch.ones(shape, device=output.device, dtype=output.dtype), dropouts.rank)
