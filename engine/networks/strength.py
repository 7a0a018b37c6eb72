"""How much of a network acts: for what is learned at other strengths than that of 1, or beside the model without it."""

from __future__ import annotations

from typing import Any

from torch import nn

WHOLE = 1.0


class Strength:
    """Of all networks on a model's layers, of whatever kind: y + strength · (y' - y), of what a layer gives without a
    network, y, and with it, y'.

    It stays as set, for a pass may be made again when its gradients are asked for.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self._layers: list[Any] = [
            layer for module in modules for layer in module.modules() if hasattr(layer, "base_layer")
        ]
        self._now = WHOLE

    def set(self, strength: float) -> None:
        if strength == self._now:
            return
        self._now = strength
        for layer in self._layers:
            vars(layer).pop("forward", None)
            if strength == 0:
                layer.forward = layer.base_layer.forward
            elif strength != WHOLE:
                layer.forward = _at(layer, strength)


def _at(layer: Any, strength: float) -> Any:
    with_network = layer.forward

    def forward(*given: Any, **named: Any) -> Any:
        alone = layer.base_layer(*given, **named)
        return alone + strength * (with_network(*given, **named) - alone)

    return forward
