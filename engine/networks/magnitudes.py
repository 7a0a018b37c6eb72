"""What a layer gives once the rows of its changed weight are brought to given norms: neither the weight nor its change
is made, and of the result's size one tensor is kept: the result itself, which the next layer mostly keeps as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.models.stored import Stored

LEAST_NORM = torch.finfo(torch.float32).eps
"""Below it a row counts as one of zeros, which has no direction."""


def norms_with_chain(original: Stored, chain: list[Tensor]) -> Tensor:
    """(out,), float32: the norms of the rows of W + up · before, with gradients for both.

    chain: weights that act in turn; up, (out, rank), with any sides of 1, is the last.  Of the product of the others,
    D, (rank, in), the square of a row's norm is ‖w‖² + 2 u · (D w) + u · (D Dᵀ u).
    """
    *before, up = chain
    with torch.autocast(up.device.type, enabled=False):
        down = _product(before)
    norms: Tensor = _Norms.apply(down, up.flatten(1).float(), original.make, *original.tensors)
    return norms


def scaled(alone: Tensor, added: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """scale · (alone + added) + bias, with gradients for all but the bias.

    alone: what the layer's weight gives.  added: of the same shape, what the chain gives.  scale, bias: float32, one
    for each output, of shapes that broadcast along what the layer gives.
    """
    result: Tensor = _Scaled.apply(alone, added, scale, bias)
    return result


def _product(before: list[Tensor]) -> Tensor:
    """(rank, in · h · w), of a down and maybe a core behind it; one of them at most has sides."""
    down, *cores = (weight.float() for weight in before)
    for core in cores:
        down = torch.einsum("mn...,nj->mj...", core, down.flatten(1))
    return down.flatten(1)


class _Norms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, down: Tensor, up: Tensor, make: Callable[..., Tensor], *stored: Tensor) -> Tensor:
        with torch.autocast(down.device.type, enabled=False):
            weight = make(*stored).float().flatten(1)
            own = torch.linalg.vector_norm(weight, dim=1)
            turned, gram = weight @ down.T, down @ down.T
            more = (up * (2 * turned + up @ gram)).sum(1)
            # In this form it is the weight's own norm to the last bit where nothing is learned yet.
            norms = own * (1 + more / own.clamp(min=LEAST_NORM).square()).clamp(min=0).sqrt()
            # A row of zeros has only what is learned.
            norms = torch.where(own > LEAST_NORM, norms, more.clamp(min=0).sqrt())
        ctx.make = make
        ctx.save_for_backward(down, up, turned, norms, *stored)
        return norms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_norms: Tensor) -> tuple[Tensor | None, ...]:
        down, up, turned, norms, *stored = ctx.saved_tensors
        with torch.autocast(down.device.type, enabled=False):
            # The gradient of a norm is the row over its norm: of all rows, times those of up or of down.
            per_row = torch.where(norms > LEAST_NORM, of_norms / norms.clamp(min=LEAST_NORM), 0)[:, None]
            of_up = per_row * (turned + up @ (down @ down.T))
            weighted = (per_row * up).T
            of_down = weighted @ ctx.make(*stored).float().flatten(1) + (weighted @ up) @ down
        return of_down, of_up, None, *[None] * len(stored)


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, alone: Tensor, added: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
        # Taken together at full width: what is added is small beside the rest.
        wide = torch.addcmul(alone.float() * scale, added.float(), scale)
        result = (wide if bias is None else wide + bias).to(alone.dtype)
        # In few digits, what was scaled could not be seen in the result beside a large bias.
        ctx.is_scaled = bias is None or result.dtype == torch.float32
        ctx.added = added.dtype
        ctx.save_for_backward(result if ctx.is_scaled else (alone + added).to(result.dtype), scale, bias)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_result: Tensor) -> tuple[Tensor | None, ...]:
        kept, scale, bias = ctx.saved_tensors
        of_both, kept = of_result.float() * scale, kept.float()
        if ctx.is_scaled:
            kept = kept if bias is None else kept - bias
            # A magnitude of exactly 0, which rows of zeros have, stays.
            of_scale = (of_result * kept).sum_to_size(scale.shape) / torch.where(scale == 0, 1, scale)
        else:
            of_scale = (of_result * kept).sum_to_size(scale.shape)
        return of_both.to(of_result.dtype), of_both.to(ctx.added), of_scale, None
