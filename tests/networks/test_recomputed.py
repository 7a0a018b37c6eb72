"""A layer whose weight is made of what is trained, and made again for the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.models.stored import Stored
from engine.networks.kind import Original
from engine.networks.recomputed import original_times, with_made_weight

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "linear": ((2, 5, 3), (4, 3), {}),
    "point": ((2, 3, 4, 4), (4, 3, 1, 1), {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}),
    "convolution": ((2, 3, 7, 7), (4, 3, 3, 3), {"stride": (2, 2), "padding": (1, 1), "dilation": (2, 2)}),
}
"""Shapes of x and of the weight."""


def made(original: Original, a: Tensor, b: Tensor) -> Tensor:
    return original() + a * b.square()


def stored(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Stored:
    """In two parts, as a quantized weight is."""
    return Stored((torch.full(shape, 0.5, dtype=dtype), torch.tensor(2.0, dtype=dtype)), torch.mul)


def inputs(layer: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shape_of_x, shape, _ = LAYERS[layer]
    x, a, b = (torch.randn(size, dtype=dtype) for size in (shape_of_x, shape, shape))
    return x.requires_grad_(), a.requires_grad_(), b.requires_grad_()


@pytest.mark.parametrize("frozen", [None, 0, 1, 2])
@pytest.mark.parametrize("layer", LAYERS)
def test_its_gradients_are_those_of_finite_differences(layer: str, frozen: int | None):
    given = inputs(layer)
    if frozen is not None:
        given[frozen].requires_grad_(False)
    assert torch.autograd.gradcheck(
        lambda x, a, b: with_made_weight(x, made, stored(LAYERS[layer][1]), [a, b], LAYERS[layer][2]), given
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_of_the_weight_is_kept_and_the_pass_is_not_repeated(layer: str):
    class Counts(TorchDispatchMode):
        passes = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.passes += function in (torch.ops.aten.convolution.default, torch.ops.aten.mm.default)
            return function(*args, **(kwargs or {}))

    x, a, b = inputs(layer)
    original = stored(LAYERS[layer][1])
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y = with_made_weight(x, made, original, [a, b], LAYERS[layer][2])
    assert all(any(tensor is given for given in (x, a, b, *original.tensors)) for tensor in kept)
    with Counts() as counts:
        y.sum().backward()
    assert counts.passes == (2 if layer == "linear" else 0)  # those of the gradients of x and of the weight


def test_under_autocast_it_computes_as_autocast_does():
    x, a, b = inputs("linear", torch.float32)
    original = stored(LAYERS["linear"][1], torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = with_made_weight(x, made, original, [a, b], {})
        theirs = torch.nn.functional.linear(x, made(original, a, b))
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, theirs)
    by_ours, by_theirs = (torch.autograd.grad(y.float().sum(), (x, a, b)) for y in (ours, theirs))
    for one, other in zip(by_ours, by_theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-2)


def test_the_original_times_a_matrix_has_its_gradients_and_keeps_what_is_stored_alone():
    torch.manual_seed(0)
    original, matrix = stored((4, 3), torch.float32), torch.randn(3, 2, requires_grad=True)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda one: one):
        product = original_times(original, matrix)
    assert {id(one) for one in kept} == {id(one) for one in original.tensors}
    torch.testing.assert_close(product, original() @ matrix)
    weights = torch.randn(4, 2)
    (found,) = torch.autograd.grad((product * weights).sum(), matrix)
    torch.testing.assert_close(found, original().T @ weights)
