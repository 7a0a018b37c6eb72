"""Counts the memory of fake tensors, which have sizes but no contents."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Ledger(TorchDispatchMode):
    """live: bytes of all tensors created within the block and still referenced.  peak: the most so far.

    number: the value for code that reads an integer from a tensor, such as the length of its longest caption.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self.live = self.peak = 0
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            kind = args[0].dtype
            return True if kind == torch.bool else 1.0 if kind.is_floating_point else self._number
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._enter(tensor.untyped_storage())
        return made

    def _enter(self, storage: Any) -> None:
        if storage in self._known:
            return
        size = self._known[storage] = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, size)

    def _leave(self, size: int) -> None:
        self.live -= size


@contextmanager
def counted(number: int = 1) -> Iterator[Ledger]:
    """Within the block all new tensors have sizes only, and are counted.  number: as in Ledger."""
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(Ledger(number))


@contextmanager
def without_contents(modules: list[nn.Module]) -> Iterator[None]:
    """Replace everything that the modules hold by counted tensors; what is shared stays shared."""
    made: dict[int, Any] = {}
    before: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in {id(inner): inner for outer in modules for inner in outer.modules()}.values():
        holders: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for held in holders:
            before += [(held, name, tensor) for name, tensor in held.items() if tensor is not None]
    for held, name, tensor in before:
        if id(tensor) not in made:
            new = torch.empty(tensor.shape, dtype=tensor.dtype)
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
        held[name] = made[id(tensor)]
    made.clear()
    try:
        yield
    finally:
        for held, name, tensor in before:
            held[name] = tensor
