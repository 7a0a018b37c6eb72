"""Hypernetworks: small networks that change what attention makes its keys and values of.

x + f(x) takes the place of x before the keys, and before the values, of all attention layers of the denoiser whose x
has a certain width: that of the prompt's tokens, or of the picture's at a size.
Source: NovelAI's "Improvements on Stable Diffusion" (2022) for the idea, AUTOMATIC1111's web UI for the layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import init

from engine.settings.hypernetwork import Hypernetwork as Settings

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU, "swish": nn.Hardswish, "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "mish": nn.Mish, "silu": nn.SiLU, "softsign": nn.Softsign,
    "relu6": nn.ReLU6, "selu": nn.SELU, "celu": nn.CELU, "softplus": nn.Softplus, "hardtanh": nn.Hardtanh,
    "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid, "logsigmoid": nn.LogSigmoid, "tanhshrink": nn.Tanhshrink,
    "softshrink": nn.Softshrink, "hardshrink": nn.Hardshrink,
}  # fmt: skip
"""By the names of the web UI, whose swish is PyTorch's Hardswish; the form offers those that are in use."""

KEYS, VALUES = "k", "v"

DEVIATION = 0.01
"""Of the weights that begin as Normal."""


@dataclass(frozen=True)
class Structure:
    """widths: of what each layer is given, and of the last one's result, in multiples of x's; 1 at both ends.

    dropouts: probabilities, one for each of the widths, 0 at the ends.
    """

    widths: tuple[float, ...]
    activation: str = "linear"
    activate_output: bool = False
    layer_norm: bool = False
    dropouts: tuple[float, ...] = ()
    init: str = "Normal"

    @classmethod
    def of(cls, settings: Settings) -> Structure:
        """Raises ValueError, a sentence."""
        s = settings
        return cls(
            tuple(s.structure()), s.hypernetwork_activation, s.hypernetwork_activate_output, s.hypernetwork_layer_norm,
            tuple(s.dropouts()), s.hypernetwork_init,
        )  # fmt: skip


class Module(nn.Module):
    """x ↦ x + f(x), (..., width).  Its tensors have the names of the web UI's files."""

    def __init__(self, width: int, structure: Structure) -> None:
        super().__init__()
        self.linear = nn.Sequential(*_layers(width, structure))
        for layer in self.linear:
            if isinstance(layer, nn.Linear | nn.LayerNorm):
                _begin(layer, structure)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.linear(x)).to(x.dtype)


class Hypernetwork(nn.Module):
    """Two modules for each width, before the keys and before the values, attached to a denoiser that stays frozen."""

    def __init__(self, denoiser: nn.Module, widths: Sequence[int], structure: Structure, dtype: torch.dtype) -> None:
        """widths: among widths_in(denoiser).  dtype: of the weights."""
        super().__init__()
        self.structure = structure
        self.widths = list(widths)
        self._by_width = nn.ModuleDict(
            {str(width): nn.ModuleDict({KEYS: Module(width, structure), VALUES: Module(width, structure)})
             for width in widths}
        )  # fmt: skip
        self.to(next(denoiser.parameters()).device, dtype)
        for attention in [*attentions(denoiser)]:
            if (width := attention.cross_attention_dim) in self.widths:
                # A part of the model from here on: it goes where the model goes, and trains when it does.
                attention.to_k = nn.Sequential(self.of(width, KEYS), attention.to_k)
                attention.to_v = nn.Sequential(self.of(width, VALUES), attention.to_v)

    def of(self, width: int, use: str) -> Module:
        module = self._by_width[str(width)][use]  # type: ignore[index]
        assert isinstance(module, Module)
        return module


def attentions(denoiser: nn.Module) -> Iterator[Attention]:
    """Those with keys and values of their own."""
    for module in denoiser.modules():
        if isinstance(module, Attention) and module.to_k is not None and module.to_v is not None:
            yield module


def widths_in(denoiser: nn.Module) -> list[int]:
    """Of what its attention layers make keys and values of, the prompt's first."""
    cross = {module.cross_attention_dim for module in attentions(denoiser) if module.is_cross_attention}
    own = {module.cross_attention_dim for module in attentions(denoiser)} - cross
    return [*sorted(cross), *sorted(own)]


def _layers(width: int, structure: Structure) -> Iterator[nn.Module]:
    s, last = structure, len(structure.widths) - 2
    for place, (inside, outside) in enumerate(pairwise(int(width * part) for part in s.widths)):
        yield nn.Linear(inside, outside)
        if s.activation != "linear" and (place < last or s.activate_output):
            yield ACTIVATIONS[s.activation]()
        if s.layer_norm:
            yield nn.LayerNorm(outside)
        if s.dropouts and s.dropouts[place + 1]:
            yield nn.Dropout(s.dropouts[place + 1])


@torch.no_grad()
def _begin(layer: nn.Linear | nn.LayerNorm, structure: Structure) -> None:
    weight, gain = layer.weight, _gain(structure)
    if structure.init == "Normal" or isinstance(layer, nn.LayerNorm):
        init.normal_(weight, 0, DEVIATION)
    elif structure.init == "XavierUniform":
        init.xavier_uniform_(weight)
    elif structure.init == "XavierNormal":
        init.xavier_normal_(weight)
    elif structure.init == "KaimingUniform":
        init.kaiming_uniform_(weight, nonlinearity=gain)
    else:
        init.kaiming_normal_(weight, nonlinearity=gain)
    init.zeros_(layer.bias)


def _gain(structure: Structure) -> Literal["relu", "leaky_relu"]:
    return "leaky_relu" if structure.activation == "leakyrelu" else "relu"
