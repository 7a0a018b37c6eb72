"""Normalisation layers whose weight and bias are changed, as LyCORIS changes them beside a network of any kind."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.dropout import Dropouts, RowsLeftOut
from engine.networks.held import Held


class ChangedNorm(nn.Module):
    """x̂ · (weight + w_norm) + (bias + b_norm), with x̂ as the layer normalises x; both from 0.

    It is the place of its own name in kohya's files.
    """

    def __init__(self, base_layer: nn.Module, dropouts: Dropouts, dtype: torch.dtype) -> None:
        super().__init__()
        self.base_layer: Any = base_layer
        self.train(base_layer.training)
        weight: Any = base_layer.weight
        biased = getattr(base_layer, "bias", None) is not None
        self.trained = nn.ParameterDict(
            {name: torch.zeros_like(weight, dtype=dtype) for name in ("w_norm", "b_norm")[: 1 + biased]}
        )
        self._left_out = RowsLeftOut(dropouts)

    @property
    def weight(self) -> Any:
        return self.base_layer.weight

    @property
    def bias(self) -> Any:
        return getattr(self.base_layer, "bias", None)

    def fast_parameters(self) -> list[nn.Parameter]:
        return []

    def file_weights(self) -> dict[str, Tensor]:
        return dict(self.trained.items())

    def state(self) -> dict[str, Tensor]:
        return dict(self.trained.items())

    def begin_from(self, name: str, held: Held) -> None:
        """Raises RuntimeError where the file's have another size, or there is no bias for one."""
        for end, tensor in held.tensors.items():
            if end not in self.trained or self.trained[end].shape != tensor.shape:
                raise RuntimeError(f"{name}.{end} is of shape {tuple(tensor.shape)}, which the layer does not have")
            self.trained[end].copy_(tensor)

    def limit_norm(self, most: float) -> None:
        """Nothing: what is limited is the norm of matrices."""

    def forward(self, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        y: Tensor = self.base_layer(x, *rest, **named)
        changes: dict[str, Tensor] = {name: tensor.float() for name, tensor in self.trained.items()}
        if self.training:
            self._left_out.enter(0)
            if self._left_out.leaves_out:
                return y
            if (kept := self._left_out.kept(len(self.weight), x)) is not None:
                changes = {name: tensor * kept for name, tensor in changes.items()}
        return y + self._normalised(x.float(), changes["w_norm"], changes.get("b_norm")).to(y.dtype)

    def _normalised(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """With these in place of the layer's own."""
        base = self.base_layer
        if isinstance(base, nn.GroupNorm):
            return F.group_norm(x, base.num_groups, weight, bias, base.eps)
        if isinstance(base, nn.LayerNorm):
            return F.layer_norm(x, weight.shape, weight, bias, base.eps)
        return F.rms_norm(x, weight.shape, weight, base.eps)
