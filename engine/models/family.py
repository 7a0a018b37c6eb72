"""What the training loop asks of a base model, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.models.concat import KEY, Concat, Given
from engine.models.vae import to_latents
from engine.objective.objective import TrainingObjective
from engine.settings.samples import SamplePrompt
from engine.settings.training import TrainingSettings

Encoded = dict[str, Tensor]
"""What the text encoders make of captions, by name; the first dimension of each tensor counts the captions."""

Prediction = Literal["epsilon", "v_prediction", "flow"]
"""What the model answers: the noise, the velocity of Salimans & Ho 2022, or that of a straight flow."""


@dataclass
class Parts:
    """The loaded pieces of a base model.

    denoiser: the UNet or transformer.  text_encoders, tokenizers: in the order in which the family asks them.
    first_encoder: diffusers' number of the first of these; SDXL's refiner has the second alone.
    alphas_cumprod: (T,) ᾱ of the noise schedule that it is trained with, None for a flow.
    alphas_with_signal: the same before its end was brought down to no signal at all, where it was.
    scheduler: the configuration of the sampler that goes with the model, its class under "_class_name".
    pipeline: what a diffusers folder says of the model as a whole, such as force_zeros_for_empty_prompt.
    concat: what the denoiser is shown beside the noisy latents, None for nothing.
    refines: samples begin from a picture.
    """

    denoiser: nn.Module
    vae: nn.Module
    text_encoders: list[nn.Module]
    tokenizers: list[Any]
    first_encoder: int = 1
    prediction: Prediction = "epsilon"
    alphas_cumprod: Tensor | None = None
    alphas_with_signal: Tensor | None = None
    scheduler: dict[str, Any] = field(default_factory=dict)
    pipeline: dict[str, Any] = field(default_factory=dict)
    concat: Concat | None = None
    refines: bool = False

    @property
    def stride(self) -> int:
        """Pixels to a latent's, along a side."""
        vae: Any = self.vae
        return int(2 ** (len(vae.config.block_out_channels) - 1))

    def modules(self) -> Iterator[nn.Module]:
        yield from (self.denoiser, *self.of_pictures(), *self.text_encoders)

    def of_pictures(self) -> list[nn.Module]:
        """Those that look at pictures: the VAE before all."""
        return [self.vae, *(self.concat.modules() if self.concat else ())]

    def encode(self, pixels: Tensor, noise: list[torch.Generator] | torch.Generator | None) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] as latents, behind them in further channels what is shown beside these."""
        latents = to_latents(self.vae, pixels, noise)
        if self.concat is None:
            return latents
        return torch.cat([latents, self.concat.of(self.vae, pixels, noise).to(latents.dtype)], dim=1)

    def apart(self, encoded: Tensor) -> tuple[Tensor, Encoded]:
        """What encode() gives, as the latents and what predict() is told beside the captions."""
        latents, beside = encoded[:, : self.channels], encoded[:, self.channels :]
        return latents, {KEY: beside} if self.concat else {}

    def beside(self, sample: Drawing) -> Encoded:
        """What draw() is told of a sample beside the captions."""
        if self.concat is None:
            return {}
        size = sample.height, sample.width
        return {KEY: self.concat.of_sample(self.vae, size, sample.given, sample.generator())}

    @property
    def channels(self) -> int:
        """Of a latent."""
        vae: Any = self.vae
        return int(vae.config.latent_channels)

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""
        return next(self.denoiser.parameters()).device


@dataclass(frozen=True)
class Reading:
    """How captions are read.

    clip_skip: the text encoder's layer, counted from the last, 0 and 1 for the last.
    tokens: how many tokens of a caption at most: 75, 150 or 225.  weighted: (word:1.3) is emphasis, where captions
    are read through CLIP alone.  negatives: how many of the captions, the last ones, say what a sample shall not show.
    """

    clip_skip: int = 1
    tokens: int = 75
    weighted: bool = False
    negatives: int = 0

    @classmethod
    def of(cls, settings: TrainingSettings) -> Reading:
        captions = settings.captions
        return cls(settings.objective.clip_skip, int(captions.max_token_length), captions.weighted_captions)


@dataclass(frozen=True)
class CaptionLimit:
    """How much of a caption is read by the text encoder that reads most.

    tokens: at most, without those that stand for begin and end.  option: the name of the one that raises it.
    """

    tokenizer: Any
    tokens: int
    option: str


@dataclass(frozen=True)
class Drawing:
    """A sample picture to be drawn, width × height pixels.  given: what it begins from."""

    prompt: SamplePrompt
    width: int
    height: int
    seed: int
    given: Given = field(default_factory=Given)

    def guidance(self, usual: float) -> float:
        """Classifier-free guidance: as the prompt asks, else as is usual with the model."""
        return usual if self.prompt.guidance_scale is None else self.prompt.guidance_scale

    def generator(self) -> torch.Generator:
        """Drawn on the CPU, noise is the same on every machine."""
        return torch.Generator().manual_seed(self.seed)

    def shape(self, parts: Parts) -> tuple[int, int, int, int]:
        """Of the latents that are drawn."""
        return 1, parts.channels, self.height // parts.stride, self.width // parts.stride

    def begin(self, parts: Parts, dtype: torch.dtype) -> dict[str, Any]:
        """Where diffusers' pipelines begin: the latents, of as many channels as are drawn, and the noise to come."""
        generator = self.generator()
        latents = torch.randn(self.shape(parts), generator=generator, dtype=dtype).to(parts.device)
        return {"latents": latents, "generator": generator, "width": self.width, "height": self.height}


@dataclass(frozen=True)
class Attachment:
    """One place in kohya's files for a network's weights.

    name: as in the files.  paths: the module that it is on; several where the original model has one matrix for what
    stands apart here, stacked in this order.  swapped: the original has the two halves of its rows the other way round.
    also: what files of other programs call it beside name and path, without what begins such names.
    """

    name: str
    paths: tuple[str, ...]
    swapped: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One module that a network may attach to.

    group: "unet" or "text_encoder", whose learning rate it has.
    """

    module: nn.Module
    group: Literal["unet", "text_encoder"]
    attachments: tuple[Attachment, ...] = field(repr=False)


class Family(Protocol):
    """One kind of base model: how to load it, condition it, ask it, and draw with it.

    A family is made with the settings of a run, which are fixed for the whole of it.
    """

    name: str
    """For people, such as SDXL."""

    trains_text_encoders: bool
    """Whether training the whole model may train its text encoders too."""
    pipeline: Any
    """diffusers' class of the whole model; of one of several kinds, of that which was loaded."""
    network_module: str
    """What sd-scripts calls the LoRA for it, such as networks.lora."""

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        """What files that are trained on it say of it: its ss_* and modelspec.* entries, as sd-scripts has them.

        At the least ss_base_model_version, modelspec.architecture and modelspec.implementation.
        """

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        """Load the pieces on the CPU.  Raises Failure."""

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        """The model's tensors as its original single file has them; what it commonly lacks is left out."""

    def encoder_files(self, parts: Parts) -> dict[str, dict[str, Tensor]]:
        """The text encoders that the settings want saved beside that file, by what stands behind the stem in the names
        of their files: output_names.beside_names() says which.
        """

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Encoded:
        """What the model is told of the captions.  Raises Failure."""

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        """Where captions are cut off."""

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        """How sd-scripts names and keeps encoded captions; None where they are kept in memory alone."""

    def caption_to_file(self, parts: Parts, caption: str, encoded: Encoded) -> dict[str, Any]:
        """One caption's tensors, without the first dimension, as numpy arrays under sd-scripts' names."""

    def caption_from_file(self, arrays: Encoded) -> Encoded:
        """caption_to_file() the other way round."""

    def latent_format(self, parts: Parts) -> LatentFormat:
        """How sd-scripts names and scales this model's latents in files."""

    def predict(self, parts: Parts, noisy: Tensor, timesteps: Tensor, encoded: Encoded, sizes: Tensor) -> Tensor:
        """The model's answer to noisy latents (B, C, h, w) at timesteps (B,) in [0, 1000], of the latents' shape.

        sizes: (B, 6) in pixels: height and width of the picture's file, top and left of its crop, height and width
        trained at.
        """

    def objective(self, settings: TrainingSettings, parts: Parts) -> TrainingObjective:
        """What is asked of the model in training, on the denoiser's device."""

    def draw(self, parts: Parts, sample: Drawing, told: Encoded, scheduler: Any) -> Tensor:
        """Latents (1, C, h, w) of the picture, drawn by the denoiser alone.

        told: what encode_text() makes of the prompt and of the negative prompt, in training too, so that both speak
        of captions alike.  scheduler: None for a flow, which has one of its own.
        """

    def lora_targets(self, parts: Parts) -> list[Target]:
        """What a LoRA attaches to, in the order of kohya's files."""
