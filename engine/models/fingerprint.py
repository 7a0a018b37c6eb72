"""A short hash of a module's weights: enough to tell whether what it computed before is still valid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import nn

AT_MOST = 1024
"""Sampled values of each tensor, spread evenly. Training changes nearly all of them, so a few tell two models apart
without reading a text encoder of ten gigabytes."""

OF_THE_DECODER = ("decoder.", "post_quant_conv.")
"""Parts of a VAE that do not affect encoding: some VAEs were trained only in these."""


def fingerprint(modules: Iterable[nn.Module], without: tuple[str, ...] = ()) -> str:
    """16 hex digits of the weights, the precision and the names of the modules' tensors."""
    digest = hashlib.blake2b(digest_size=8)
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            if name.startswith(without):
                continue
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
            flat = tensor.detach().flatten()
            some = flat[:: max(1, flat.numel() // AT_MOST)].float().cpu()
            digest.update(some.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
