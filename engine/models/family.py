"""What the training loop asks of a base model, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.settings.samples import SamplePrompt
from engine.settings.source_model import SourceModel


@dataclass
class Parts:
    """The loaded pieces of a base model.

    alphas_cumprod: (T,) ᾱ of the noise schedule it was trained with.
    """

    unet: nn.Module
    vae: nn.Module
    text_encoder: nn.Module
    tokenizer: Any
    alphas_cumprod: Tensor

    def modules(self) -> Iterator[nn.Module]:
        yield from (self.unet, self.vae, self.text_encoder)


@dataclass(frozen=True)
class Reading:
    """How captions are read.

    clip_skip: the text encoder's layer, counted from the last, 0 and 1 for the last.
    tokens: how many tokens of a caption at most: 75, 150 or 225.
    """

    clip_skip: int = 1
    tokens: int = 75


@dataclass(frozen=True)
class Target:
    """One part that a network may attach to, and the names that kohya's files use for it.

    part: the attribute of Parts.  group: "unet" or "text_encoder", whose learning rate it has.
    prefix: what file names begin with, before the module's own path.
    modules: the paths of the modules to attach to.
    """

    part: str
    group: str
    prefix: str
    modules: tuple[str, ...]

    def file_name(self, module: str) -> str:
        """The name of a module in kohya's files: the prefix, then its path with _ for every dot."""
        return f"{self.prefix}_{module.replace('.', '_')}"


class Family(Protocol):
    """One kind of base model: how to load it, condition it, ask it, and draw with it."""

    name: str
    kohya_version: str
    """What kohya's metadata call it, such as sd_v1."""
    architecture: str
    """What modelspec calls it, such as stable-diffusion-v1."""

    def load(self, source: SourceModel, dtype: torch.dtype) -> Parts:
        """Load the pieces on the CPU.  Raises Failure."""

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Tensor:
        """Captions → (B, tokens, channels).  Raises Failure."""

    def encode_images(self, parts: Parts, pixels: Tensor, generator: list[torch.Generator] | None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] → (B, C, h, w), scaled to about unit variance."""

    def predict(self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Tensor) -> Tensor:
        """The model's answer to noisy latents (B, C, h, w) at timesteps (B,), of the latents' shape."""

    def draw(
        self,
        parts: Parts,
        prompt: SamplePrompt,
        scheduler: Any,
        width: int,
        height: int,
        seed: int,
        reading: Reading,
    ) -> Any:
        """One sample picture as a PIL image, width × height pixels."""

    def lora_targets(self, parts: Parts) -> list[Target]:
        """What a LoRA attaches to, in the order of kohya's files."""
