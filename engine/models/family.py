"""What the training loop asks of a base model, whichever it is."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.models.conditioning import CaptionLimit, Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.parts import Parts
from engine.models.targets import Target
from engine.objective.objective import TrainingObjective
from engine.settings.training import TrainingSettings


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

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """The conditioning of the captions.  Raises Failure."""

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        """Where captions are cut off."""

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        """How sd-scripts names and keeps encoded captions; None where they are kept in memory alone."""

    def caption_to_file(self, parts: Parts, caption: str, conditioning: Conditioning) -> dict[str, Any]:
        """One caption's tensors, without the first dimension, as numpy arrays under sd-scripts' names."""

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        """caption_to_file() the other way round."""

    def latent_format(self, parts: Parts) -> LatentFormat:
        """How sd-scripts names and scales this model's latents in files."""

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        """The model's prediction for noisy latents (B, C, h, w) at timesteps (B,) in [0, 1000], of the latents' shape.

        sizes: (B, 6) in pixels: height and width of the picture's file, top and left of its crop, height and width
        trained at.
        """

    def objective(self, settings: TrainingSettings, parts: Parts) -> TrainingObjective:
        """What is asked of the model in training, on the denoiser's device."""

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        """Latents (1, C, h, w) of the picture, drawn by the denoiser alone.

        conditioning: what encode_text() makes of the prompt and of the negative prompt, in training too, so that both
        speak of captions alike.  scheduler: None for a flow, which has one of its own.
        """

    def lora_targets(self, parts: Parts) -> list[Target]:
        """What a LoRA attaches to, in the order of kohya's files."""
