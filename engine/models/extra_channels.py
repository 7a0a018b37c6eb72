"""The extra inputs of some UNets besides noisy latents: the kept areas of the picture, or its depth.

LDM calls this concat conditioning: further input channels, of the latents' size.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.data.holes import hole
from engine.models.vae import to_latents

EXTRA_CHANNELS = "extra_channels"
"""Their name in Conditioning."""

Noise = list[torch.Generator] | torch.Generator | None
"""For sampling from the VAE; None for torch's own generator."""


class ExtraChannels(Protocol):
    channels: int
    is_drawn: bool
    """Whether it differs every time, so that it cannot be cached."""

    def modules(self) -> list[nn.Module]:
        """The modules it needs besides the VAE."""

    def of(self, vae: nn.Module, pixels: Tensor, noise: Noise = None) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] → (B, channels, h, w), on the VAE's device."""

    def of_sample(
        self, vae: nn.Module, size: tuple[int, int], init_image: InitImage, generator: torch.Generator
    ) -> Tensor:
        """(1, channels, h, w) for a sample of (height, width) pixels."""


@dataclass(frozen=True)
class InitImage:
    """What a sample starts from, if its prompt names it.

    picture: (1, 3, H, W) in [-1, 1].  mask: (1, 1, H, W), 1 where to fill in.
    """

    picture: Tensor | None = None
    mask: Tensor | None = None


class Masked:
    """For inpainting models: the mask, 1 where the model is to fill in, and the latents of the picture with that area
    grey (Stable Diffusion's own inpainting models, as in diffusers and sd-scripts).
    """

    channels = 5
    is_drawn = True

    def modules(self) -> list[nn.Module]:
        return []

    def of(self, vae: nn.Module, pixels: Tensor, noise: Noise = None) -> Tensor:
        """torch's generator decides which areas are masked."""
        return self._joined(vae, pixels, _holes(pixels, int(torch.randint(2**31, ()))), noise)

    def of_sample(
        self, vae: nn.Module, size: tuple[int, int], init_image: InitImage, generator: torch.Generator
    ) -> Tensor:
        """Without a picture everything is filled in; without a mask the seed decides where."""
        if init_image.picture is None:
            pixels, mask = torch.zeros(1, 3, *size), torch.ones(1, 1, *size)
        else:
            pixels = init_image.picture
            mask = _holes(pixels, generator.initial_seed()) if init_image.mask is None else init_image.mask
        return self._joined(vae, pixels, mask, torch.Generator().manual_seed(generator.initial_seed()))

    def _joined(self, vae: nn.Module, pixels: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        kept = to_latents(vae, pixels * (mask < 0.5), noise)
        return torch.cat([F.interpolate(mask, kept.shape[-2:]).to(kept.device, kept.dtype), kept], dim=1)


class Depth:
    """For Stable Diffusion 2's depth model: how near each position is, from -1, the farthest of the picture, to 1."""

    channels = 1
    is_drawn = False

    def __init__(self, estimator: nn.Module) -> None:
        """estimator: a DPT."""
        self.estimator = estimator

    def modules(self) -> list[nn.Module]:
        return [self.estimator]

    def of(self, vae: nn.Module, pixels: Tensor, noise: Noise = None) -> Tensor:
        model: Any = vae
        height, width = (side // 2 ** (len(model.config.block_out_channels) - 1) for side in pixels.shape[-2:])
        asked: Any = self.estimator
        if asked.device != model.device:
            asked.to(model.device)
        side = asked.config.image_size
        scaled = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        with torch.autocast(model.device.type, enabled=False):
            said = asked(scaled.to(model.device, asked.dtype)).predicted_depth
        depth = F.interpolate(said[:, None].float(), (height, width), mode="bicubic", align_corners=False)
        least, most = depth.amin(dim=(1, 2, 3), keepdim=True), depth.amax(dim=(1, 2, 3), keepdim=True)
        return 2 * (depth - least) / (most - least).clamp_min(1e-12) - 1

    def of_sample(
        self, vae: nn.Module, size: tuple[int, int], init_image: InitImage, generator: torch.Generator
    ) -> Tensor:
        """Without a picture everything is equally far."""
        shown = torch.zeros(1, 3, *size) if init_image.picture is None else init_image.picture
        depth = self.of(vae, shown)
        return torch.zeros_like(depth) if init_image.picture is None else depth


def with_extra_channels(noisy: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
    """The UNet's input: noisy latents, followed by the extra channels, if there are any."""
    extra = conditioning.get(EXTRA_CHANNELS)
    return noisy if extra is None else torch.cat([noisy, extra.to(noisy.device, noisy.dtype)], dim=1)


@contextmanager
def extra_channels_shown(unet: nn.Module, conditioning: dict[str, Tensor]) -> Iterator[None]:
    """Within the block, the UNet can be called without extra channels, as diffusers' plain pipelines do."""

    def join(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        extra = conditioning[EXTRA_CHANNELS].expand(len(inputs[0]), -1, -1, -1)
        return (with_extra_channels(inputs[0], {EXTRA_CHANNELS: extra}), *inputs[1:])

    hook = unet.register_forward_pre_hook(join) if EXTRA_CHANNELS in conditioning else None
    try:
        yield
    finally:
        if hook:
            hook.remove()


def _holes(pixels: Tensor, seed: int) -> Tensor:
    """(B, 1, H, W), 1 where to fill in a picture."""
    rng, (height, width) = random.Random(seed), pixels.shape[-2:]
    masks = [np.asarray(hole((width, height), rng), dtype=np.float32) / 255 for _ in range(len(pixels))]
    return torch.from_numpy(np.stack(masks))[:, None]
