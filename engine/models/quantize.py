"""Frozen weights in 8 or 4 bits: less memory, while the trained weights stay exact."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from bitsandbytes import functional as bnb
from torch import Tensor, nn

from engine.models.stored import Stored
from engine.settings.memory import BaseFormat

LARGEST_FP8 = torch.finfo(torch.float8_e4m3fn).max
LARGEST_INT8 = 127

NF4_BLOCK = 64
"""Weights that share a scale."""


def quantize(module: nn.Module, form: BaseFormat, device: torch.device) -> None:
    """Move the module to the device, converting the frozen matrices of its blocks to this format one by one.

    So the device never holds all of it in full precision.  Layers outside the blocks (embeddings, the last layer),
    norms, biases and convolutions stay as they are, and what is marked stays_exact.
    fp8: e4m3.  int8: integers up to ±127; both with one scale per row.  nf4: the quantiles of a normal distribution,
    with a 16-bit scale per 64 weights (Dettmers et al. 2023, QLoRA, arXiv:2305.14314, section 3, without its second
    quantisation).
    """
    kept = tuple(getattr(module, "_keep_in_fp32_modules", None) or ())  # T5's wo, which requires its own number format
    within = [parent for blocks in module.modules() if isinstance(blocks, nn.ModuleList) for parent in blocks.modules()]
    for parent in within:
        for name, layer in list(parent.named_children()):
            exact = name in kept or getattr(layer, "stays_exact", False)
            if type(layer) is nn.Linear and not layer.weight.requires_grad and not exact:
                setattr(parent, name, QuantizedLinear(layer, form, device))
    module.to(device)


class QuantizedLinear(nn.Module):
    """A Linear whose weight (out, in) is dequantized for each use, in the backward pass too.

    bitsandbytes' own layers hold on to weights and inputs in ways that checkpointing does not see.
    """

    def __init__(self, layer: nn.Linear, form: BaseFormat, device: torch.device) -> None:
        super().__init__()
        self._form, self._shape = form, layer.weight.shape
        weight, scale = _quantized(layer.weight.detach().to(device), form)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = layer.bias if layer.bias is None else nn.Parameter(layer.bias.detach().to(device), False)

    def widened(self, dtype: torch.dtype) -> Stored:
        """The weight of now, which is wide when it is made."""
        stored: Any = self.weight
        scale: Any = self.scale
        return Stored((stored, scale), partial(_wide, form=self._form, shape=self._shape, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        y: Tensor = _Multiply.apply(x, self.weight, self.scale, self._form, self._shape)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _Multiply(torch.autograd.Function):
    """x · Wᵀ that keeps W as it is stored; torch's own would keep the wide copy for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, form: BaseFormat, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.form, ctx.shape = form, shape
        return x @ _wide(weight, scale, form, shape, x.dtype).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, scale = ctx.saved_tensors
        wide = _wide(weight, scale, ctx.form, ctx.shape, gradients[0].dtype)
        return gradients[0] @ wide, None, None, None, None


def _quantized(weight: Tensor, form: BaseFormat) -> tuple[Tensor, Tensor]:
    """(a matrix's stored values, its scales)."""
    wide = weight.float()
    if form == "nf4":
        packed, state = bnb.quantize_4bit(wide.contiguous(), blocksize=NF4_BLOCK, quant_type="nf4")
        return packed, state.absmax.bfloat16()
    largest = LARGEST_FP8 if form == "fp8" else LARGEST_INT8
    scale = wide.abs().amax(1, keepdim=True).clamp(min=1e-12) / largest
    if form == "fp8":
        return (wide / scale).to(torch.float8_e4m3fn), scale
    return (wide / scale).round().to(torch.int8), scale


@cache
def _quantiles(device: torch.device) -> Tensor:
    """(16,) the values that the 16 codes of 4 bits stand for."""
    values: Tensor = bnb.get_4bit_type("nf4", device=device)
    return values


def _wide(stored: Tensor, scale: Tensor, form: BaseFormat, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    if form != "nf4":
        return stored.to(dtype) * scale.to(dtype)
    state = bnb.QuantState(scale.float(), shape, _quantiles(stored.device), NF4_BLOCK, "nf4", dtype)
    wide: Tensor = bnb.dequantize_4bit(stored, state)
    return wide
