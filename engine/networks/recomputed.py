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

from engine.models.stored import Stored

Make = Callable[..., Tensor]
"""Makes a weight, float32, of the original one and the trained tensors; the same one each time."""


def with_made_weight(
    x: Tensor, make: Make, original: Stored, trained: list[Tensor], steps: Mapping[str, Any]
) -> Tensor:
    """x through a linear layer with the weight make(original, *trained), or through a convolution if that has more than
    2 dimensions, with gradients for x and for what is trained.

    steps: stride, padding and dilation of a convolution.
    """
    applied: Tensor = _Applied.apply(x, make, steps, original.make, len(original.tensors), *original.tensors, *trained)
    return applied


def original_times(original: Stored, matrix: Tensor) -> Tensor:
    """W · matrix, float32, with gradients for the matrix; W, (out, in), or (out, in, 1, 1), is made again for these.

    matrix: (in, n).  Returns (out, n).
    """
    product: Tensor = _Times.apply(matrix, original.make, *original.tensors)
    return product


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, make: Make, *stored: Tensor) -> Tensor:
        ctx.make, ctx.dtype = make, matrix.dtype
        ctx.save_for_backward(*stored)
        with torch.autocast(matrix.device.type, enabled=False):
            return make(*stored).flatten(1).float() @ matrix.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_product: Tensor) -> tuple[Tensor | None, ...]:
        stored = ctx.saved_tensors
        with torch.autocast(of_product.device.type, enabled=False):
            of_matrix = ctx.make(*stored).flatten(1).float().T @ of_product.float()
        return of_matrix.to(ctx.dtype), None, *[None] * len(stored)


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, make: Make, steps: Mapping[str, Any], widen: Make, count: int, *tensors: Tensor
    ) -> Tensor:
        """tensors: `count` that the original is stored in, then the trained ones."""
        ctx.make, ctx.steps, ctx.widen, ctx.count = make, steps, widen, count
        ctx.save_for_backward(x, *tensors)
        return through(x, make(Stored(tensors[:count], widen), *tensors[count:]), steps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_output: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        original, trained = Stored(tuple(tensors[: ctx.count]), ctx.widen), tensors[ctx.count :]
        learning = [number for number, needed in enumerate(ctx.needs_input_grad[5 + ctx.count :]) if needed]
        leaves = [tensor.detach().requires_grad_(number in learning) for number, tensor in enumerate(trained)]
        with torch.enable_grad():
            weight = ctx.make(original, *leaves)
        of_x, of_weight = _gradients(of_output, x, weight.detach(), ctx.steps, wants_x=ctx.needs_input_grad[0])
        grads: list[Tensor | None] = [None] * len(trained)
        if learning:
            wanted = [leaves[number] for number in learning]
            for number, grad in zip(learning, torch.autograd.grad(weight, wanted, of_weight), strict=True):
                grads[number] = grad
        return of_x, *[None] * (4 + ctx.count), *grads


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
