"""What a layer gives with a weight that is made of trained tensors, and made again for the backward pass.

The weights of all layers together are as large as the model: kept for the backward pass, as autograd by itself does,
they would take as much memory again.  Checkpointing would not keep them either, but repeat the layer's forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Make = Callable[..., Tensor]
"""Makes a weight, float32, of the trained tensors; the same one each time."""


def with_made_weight(x: Tensor, make: Make, trained: list[Tensor], steps: Mapping[str, Any]) -> Tensor:
    """x through a linear layer with the weight make(*trained), or through a convolution if that has more than 2
    dimensions, with gradients for x and for what is trained.

    steps: stride, padding and dilation of a convolution.
    """
    applied: Tensor = _Applied.apply(x, make, steps, *trained)
    return applied


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, make: Make, steps: Mapping[str, Any], *trained: Tensor) -> Tensor:
        ctx.make, ctx.steps = make, steps
        ctx.save_for_backward(x, *trained)
        return through(x, make(*trained), steps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_output: Tensor) -> tuple[Tensor | None, ...]:
        x, *trained = ctx.saved_tensors
        learning = [number for number, needed in enumerate(ctx.needs_input_grad[3:]) if needed]
        leaves = [tensor.detach().requires_grad_(number in learning) for number, tensor in enumerate(trained)]
        with torch.enable_grad():
            weight = ctx.make(*leaves)
        of_x, of_weight = _gradients(of_output, x, weight.detach(), ctx.steps, wants_x=ctx.needs_input_grad[0])
        grads: list[Tensor | None] = [None] * len(trained)
        if learning:
            wanted = [leaves[number] for number in learning]
            for number, grad in zip(learning, torch.autograd.grad(weight, wanted, of_weight), strict=True):
                grads[number] = grad
        return of_x, None, None, *grads


def through(x: Tensor, weight: Tensor, steps: Mapping[str, Any]) -> Tensor:
    weight = weight.to(x.dtype)
    return F.linear(x, weight) if weight.dim() == 2 else F.conv2d(x, weight, **steps)


def _gradients(
    of_output: Tensor, x: Tensor, weight: Tensor, steps: Mapping[str, Any], *, wants_x: bool
) -> tuple[Tensor | None, Tensor]:
    """Of x, and of the weight in float32; computed in the output's number format, which is autocast's."""
    given, used = x.to(of_output.dtype), weight.to(of_output.dtype)
    if weight.dim() == 2:
        of_x = of_output @ used if wants_x else None
        of_weight = of_output.flatten(0, -2).mT @ given.flatten(0, -2)
    else:
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            of_output, given, used, None, *_three(steps), False, [0, 0], 1, [wants_x, True, False]
        )
    return of_x.to(x.dtype) if of_x is not None else None, of_weight.to(weight.dtype)


def _three(steps: Mapping[str, Any]) -> tuple[list[int], ...]:
    return tuple(list(steps[name]) for name in ("stride", "padding", "dilation"))
