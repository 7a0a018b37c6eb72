"""Blocks of a transformer that wait in main memory until they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def blocks_of(denoiser: nn.Module) -> list[nn.Module]:
    """A transformer's blocks in the order in which they compute."""
    return [block for lists in denoiser.children() if isinstance(lists, nn.ModuleList) for block in lists]


class BlockSwap:
    """Puts a transformer on the device, `count` of its blocks, evenly spread, only while they compute.

    Only weights that do not learn are moved, so nothing has to be brought back.  A block's follower in the direction of
    travel is copied while the block computes.  Needs gradient checkpointing around each block: a backward pass then
    begins with the block's forward pass, which brings its weights; without it autograd would hold on to all of them.
    """

    def __init__(self, transformer: nn.Module, count: int, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        blocks = blocks_of(transformer)
        places = spread(len(blocks), count)
        for module in (*(child for child in transformer.children() if not isinstance(child, nn.ModuleList)), *blocks):
            if not any(module is blocks[place] for place in places):
                module.to(device)
        for tensor in (*transformer.parameters(recurse=False), *transformer.buffers(recurse=False)):
            tensor.data = tensor.data.to(device)
        self.swapped = [_Swapped(blocks[place], device) for place in places]
        for number, one in enumerate(self.swapped):
            one.block.register_forward_pre_hook(partial(self._begin, number))
            one.block.register_forward_hook(lambda block, given, answer, one=one: one.leave(), always_call=True)
        self._latest = -1

    def _begin(self, number: int, *_: Any) -> None:
        """Have the block's weights here, and those of the next one on their way."""
        follower = number + (1 if number >= self._latest else -1)
        self._latest = number
        self._fetch(number)
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            if 0 <= follower < len(self.swapped):
                self._fetch(follower)

    def _fetch(self, number: int) -> None:
        with torch.cuda.stream(self._stream) if self._stream else nullcontext():
            self.swapped[number].come(self._device)


class _Swapped:
    """One block, whose frozen weights have their home in main memory.  What learns stays on the device."""

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self.block = block.to(device)  # with what belongs to weights in few bits
        self.is_here = True
        self._homes: list[tuple[Tensor, Tensor]] = []
        for tensor in _frozen(block):
            home = tensor.data.to("cpu", copy=True)
            self._homes.append((tensor, home.pin_memory() if device.type == "cuda" else home))
        self.leave()

    def come(self, device: torch.device) -> None:
        if self.is_here:
            return
        for tensor, home in self._homes:
            tensor.data = home.to(device, non_blocking=True, copy=True)
            if device.type == "cuda":  # made on the stream of copies, it must outlive its use on the usual one
                tensor.data.record_stream(torch.cuda.default_stream(device))
        self.is_here = True

    def leave(self) -> None:
        """What the graph still needs on the device, it holds."""
        for tensor, home in self._homes:
            tensor.data = home
        self.is_here = False


def _frozen(block: nn.Module) -> Iterator[Tensor]:
    yield from (parameter for parameter in block.parameters() if not parameter.requires_grad)
    yield from block.buffers()


def spread(blocks: int, count: int) -> list[int]:
    """Which of the blocks: as far from each other as can be, so that there is time to fetch each."""
    return [place for place in range(blocks) if (place + 1) * count // blocks > place * count // blocks]
