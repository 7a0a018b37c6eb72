"""A frozen weight as a layer keeps it, and how the weight is made of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor


@dataclass(frozen=True)
class Stored:
    """Gives the weight when it is called.

    Autograd functions save `tensors` for the backward pass and make it anew of those: only tensors that are saved are
    let go by gradient checkpointing, and so by block swap.

    make: of the tensors; refers to no other of the weight's size.
    """

    tensors: tuple[Tensor, ...]
    make: Callable[..., Tensor]

    def __call__(self) -> Tensor:
        return self.make(*self.tensors)

    @classmethod
    def whole(cls, weight: Tensor) -> Stored:
        return cls((weight,), _same)

    @classmethod
    def stacked(cls, several: Sequence[Stored], order: Callable[[Tensor], Tensor]) -> Stored:
        """Of layers that are one matrix.  order: of its rows."""
        counts, makers = [len(one.tensors) for one in several], [one.make for one in several]

        def make(*tensors: Tensor) -> Tensor:
            left = iter(tensors)
            weights = [maker(*islice(left, count)) for maker, count in zip(makers, counts, strict=True)]
            return order(weights[0] if len(weights) == 1 else torch.cat(weights))  # which would copy a single one

        return cls(tuple(tensor for one in several for tensor in one.tensors), make)


def _same(weight: Tensor) -> Tensor:
    return weight
