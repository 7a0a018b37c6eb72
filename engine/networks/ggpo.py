"""GGPO: noise on the weights while they are trained, so that flat minima are found (Chang et al. 2025,
arXiv:2502.14538v1), as sd-scripts has it for FLUX.1."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.quantize import QuantizedLinear


@dataclass(frozen=True)
class GGPO:
    """How strongly the norm of a row of the weights, and the square of its gradient's, let it be perturbed."""

    sigma: float
    beta: float


class Perturbation:
    """For the layers that are one matrix W of n rows: each pass adds x · Eᵀ to what a layer gives, without gradients.

    E is drawn from a normal distribution of the width (σ · ‖row of W + BA‖ + β · ‖row of the gradient‖²) / √n.  Of W
    only the rows' mean norm is used; both norms are of the step before, so the first one is not perturbed.
    """

    def __init__(self, ggpo: GGPO, layers: list[Any], down: Any, ups: list[Any], scale: float, chance: Any) -> None:
        """layers: peft's, each with its rows of up.  scale: of BA.  chance: tells if a pass leaves the network out."""
        self._ggpo, self._down, self._ups, self._scale, self._chance = ggpo, down, ups, scale, chance
        rows = torch.cat([_row_norms(layer.get_base_layer()) for layer in layers])
        self._count, self._original = len(rows), rows.mean()
        self.weights: list[Tensor] = []
        self.gradients: list[Tensor] = []
        for number, layer in enumerate(layers):
            layer.register_forward_hook(self._perturbed(number))

    @torch.no_grad()
    def learn(self) -> None:
        """Called when the gradients of a step are there.  Norms of rows, (rows,) for each layer."""
        down, down_grad = _flat(self._down.weight), self._down.weight.grad
        self.weights = [
            (self._original.to(down.device) ** 2 + (_flat(up.weight) @ down * self._scale).square().sum(1)).sqrt()
            for up in self._ups
        ]
        if down_grad is not None and all(up.weight.grad is not None for up in self._ups):
            norms = [
                (_flat(up.weight) @ _flat(down_grad) + _flat(up.weight.grad) @ down).norm(dim=1) * self._scale
                for up in self._ups
            ]
            # Gradients that overflow under fp16 skip their step; noise of that size would make all later ones overflow.
            self.gradients = [norm.nan_to_num(0.0, 0.0, 0.0) for norm in norms]

    def state_dict(self) -> dict[str, Tensor]:
        """Empty before the first step."""
        norms = {"ggpo_weights": self.weights, "ggpo_gradients": self.gradients}
        return {name: torch.cat(of_layers) for name, of_layers in norms.items() if of_layers}

    def load_state_dict(self, norms: dict[str, Tensor]) -> None:
        rows = [up.weight.shape[0] for up in self._ups]
        parts = {name: list(of_all.split(rows)) for name, of_all in norms.items()}
        self.weights, self.gradients = parts.get("ggpo_weights", []), parts.get("ggpo_gradients", [])

    def _perturbed(self, number: int) -> Any:
        def hook(layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
            if not (layer.training and self.weights and self.gradients):
                return output
            if self._chance is not None and self._chance.leaves_out:
                return output
            base: Any = layer.get_base_layer()  # type: ignore[operator]
            return output + self._noise(base, given[0], number).to(output.dtype)

        return hook

    @torch.no_grad()
    def _noise(self, base: Any, x: Tensor, number: int) -> Tensor:
        width = self._ggpo.sigma * self.weights[number] + self._ggpo.beta * self.gradients[number].square()
        width = width.to(x.device) / sqrt(self._count)
        up = self._ups[number].weight
        shape = (up.shape[0], *self._down.weight.shape[1:])
        noise = torch.randn(shape, device=x.device, dtype=up.dtype) * width.view(-1, *[1] * (len(shape) - 1)).to(up)
        if len(shape) == 2:
            return F.linear(x, noise.to(x.dtype))
        return F.conv2d(x, noise.to(x.dtype), stride=base.stride, padding=base.padding, dilation=base.dilation)


def _flat(matrix: Tensor) -> Tensor:
    return matrix.float().flatten(1)


def _row_norms(layer: Any) -> Tensor:
    weight = layer.widened(torch.float32)() if isinstance(layer, QuantizedLinear) else layer.weight.detach()
    return _flat(weight).norm(dim=1)
