"""Block swap: transformer blocks that stay in main memory until they are needed."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine.models.parts import Parts
from engine.settings.training import TrainingSettings

CHECKPOINTED = ("transformer_blocks", "single_transformer_blocks", "layers")
"""The rows of blocks that diffusers' transformers recompute under gradient checkpointing, and no others."""

AHEAD = 2
"""Swapped blocks that are on the device at once: the one computing and the next."""


def blocks_of(denoiser: nn.Module) -> list[nn.Module]:
    """A transformer's blocks in the order in which they compute; none of a UNet."""
    lists = [lists for name, lists in denoiser.named_children() if name in CHECKPOINTED]
    return [block for blocks in lists if isinstance(blocks, nn.ModuleList) for block in blocks]


def how_many(settings: TrainingSettings, parts: Parts) -> int:
    """Blocks to swap: none for a UNet, whose blocks are not alike, and none for a whole model, which is trained."""
    return settings.memory.blocks_to_swap if not settings.trains_whole_model and parts.prediction == "flow" else 0


class BlockSwap:
    """Puts a transformer on the device, `count` of its blocks, evenly spread, only while they compute.

    Only frozen weights are moved, so nothing has to be copied back.  The next block in the direction of travel is
    copied while a block computes.  Needs gradient checkpointing around each block: a backward pass then
    begins with the block's forward pass, which brings its weights; without it autograd would hold on to all of them.
    """

    def __init__(self, transformer: nn.Module, count: int, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._left: deque[Any] = deque()
        blocks = blocks_of(transformer)
        places = set(spread(len(blocks), count))
        waiting = {id(blocks[place]) for place in places}
        _to_device_but(transformer, waiting, device)
        self.swapped = [Swapped(blocks[place], device) for place in sorted(places)]
        for number, one in enumerate(self.swapped):
            one.block.register_forward_pre_hook(partial(self._begin, number))
            one.block.register_forward_hook(partial(self._end, number), always_call=True)
        self._latest = -1

    def _begin(self, number: int, *_: Any) -> None:
        """Make sure the block's weights are on the device, and start copying those of the next one."""
        follower = number + (1 if number >= self._latest else -1)
        self._latest = number
        self._fetch(number)
        if self._copies is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._copies)
            if 0 <= follower < len(self.swapped):
                self._fetch(follower)

    def _end(self, number: int, *_: Any) -> None:
        self.swapped[number].leave()
        if self._copies is not None:
            self._left.append(torch.cuda.current_stream(self._device).record_event())

    def _fetch(self, number: int) -> None:
        if self.swapped[number].is_here:
            return
        # The CPU is far ahead of the GPU: without waiting, it would allocate block after block before any is freed.
        while len(self._left) >= AHEAD:
            self._left.popleft().synchronize()
        with torch.cuda.stream(self._copies) if self._copies else nullcontext():
            self.swapped[number].come(self._device)


class Swapped:
    """One block, whose frozen tensors live in main memory.  Trained weights stay on the device.

    The copy on the device is a different object from the one in main memory: a recorded graph keeps the one it used.
    """

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self.block, self.is_here = block, False
        self._homes: list[tuple[dict[str, Any], str, Tensor]] = []
        for module in block.modules():
            holders: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for holder in holders:
                for name, tensor in holder.items():
                    if tensor is not None and tensor.requires_grad:
                        tensor.data = tensor.data.to(device)
                    elif tensor is not None:
                        self._homes.append((holder, name, _at_home(tensor, device)))
        self.leave()

    def come(self, device: torch.device) -> None:
        for holder, name, home in self._homes:
            here = home.detach().to(device, non_blocking=True, copy=True)
            if device.type == "cuda":  # made on the stream of copies, it must outlive its use on the usual one
                here.record_stream(torch.cuda.default_stream(device))
            holder[name] = nn.Parameter(here, requires_grad=False) if isinstance(home, nn.Parameter) else here
        self.is_here = True

    def leave(self) -> None:
        for holder, name, home in self._homes:
            holder[name] = home
        self.is_here = False


def _at_home(tensor: Tensor, device: torch.device) -> Tensor:
    home = tensor.detach().to("cpu")
    home = home.pin_memory() if device.type == "cuda" else home
    return nn.Parameter(home, requires_grad=False) if isinstance(tensor, nn.Parameter) else home


def _to_device_but(module: nn.Module, waiting: set[int], device: torch.device) -> None:
    """The module and its submodules, except the blocks in main memory."""
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        tensor.data = tensor.data.to(device)
    for child in module.children():
        if id(child) not in waiting:
            _to_device_but(child, waiting, device)


def spread(blocks: int, count: int) -> list[int]:
    """Which blocks to swap: as far apart as possible, so that there is time to fetch each."""
    return [place for place in range(blocks) if (place + 1) * count // blocks > place * count // blocks]
