"""Frozen weights in 8 or 4 bits: less memory, while what is trained beside them stays exact."""

from __future__ import annotations

from typing import Any

import bitsandbytes as bnb
import torch
from torch import Tensor, nn

from engine.settings.memory import BaseFormat

LARGEST_FP8 = torch.finfo(torch.float8_e4m3fn).max
OUTLIER = 6.0
"""Activations beyond this are multiplied in 16 bits (Dettmers et al. 2022, LLM.int8(), arXiv:2208.07339)."""


def narrow(module: nn.Module, form: BaseFormat, device: torch.device) -> None:
    """Put the module on the device, the frozen matrices of its blocks in this format, one after the other.

    So the device never holds the whole of it at full width.  What stands outside the blocks (embeddings, the last
    layer), norms, biases and convolutions stay as they are.
    fp8: e4m3 with a scale a row.  int8: LLM.int8().  nf4: blocks of 64 (Dettmers et al. 2023, QLoRA,
    arXiv:2305.14314), their scales in 8 bits.
    """
    kept = tuple(getattr(module, "_keep_in_fp32_modules", None) or ())  # T5's wo, which asks for its own number format
    within = [parent for blocks in module.modules() if isinstance(blocks, nn.ModuleList) for parent in blocks.modules()]
    for parent in within:
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and not layer.weight.requires_grad and name not in kept:
                setattr(parent, name, _narrowed(layer, form, device))
    module.to(device)


def _narrowed(layer: nn.Linear, form: BaseFormat, device: torch.device) -> nn.Module:
    if form == "fp8":
        return Fp8Linear(layer).to(device)
    size: dict[str, Any] = {"input_features": layer.in_features, "output_features": layer.out_features}
    has_bias = layer.bias is not None
    new: Any
    if form == "nf4":
        new = bnb.nn.Linear4bit(**size, bias=has_bias, compute_dtype=layer.weight.dtype, quant_type="nf4")
        # A CPU's fast way packs the weights anew when a sample is drawn, and no gradient comes through it then.
        new.support_avx512bf16_for_cpu = False
    else:
        new = bnb.nn.Linear8bitLt(**size, bias=has_bias, has_fp16_weights=False, threshold=OUTLIER)
    new.load_state_dict(layer.state_dict())
    narrowed: nn.Module = new.requires_grad_(False).to(device)
    return narrowed


class Fp8Linear(nn.Module):
    """A Linear whose weight (out, in) is made wide for each use, in the backward pass too."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST_FP8
        self.register_buffer("weight", (weight / scale).to(torch.float8_e4m3fn))
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        y: Tensor = _Multiply.apply(x, self.weight, self.scale)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _Multiply(torch.autograd.Function):
    """x · Wᵀ that keeps W as it is stored; torch's own would keep the wide copy for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return x @ _wide(weight, scale, x.dtype).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, scale = ctx.saved_tensors
        return gradients[0] @ _wide(weight, scale, gradients[0].dtype), None, None


def _wide(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype) * scale.to(dtype)
