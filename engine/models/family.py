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
from engine.models.targets import STANDARD, Reach, Target
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
    word_tables: tuple[str, ...]
    """What files of new words call the tables of the first text encoders, which are CLIPs; empty if there are none."""
    pipeline: Any
    """diffusers' pipeline class; if there are several, that of the loaded model."""
    network_module: str
    """What sd-scripts calls the LoRA for it, such as networks.lora."""

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        """What files trained on it say about it: its ss_* and modelspec.* entries, as in sd-scripts.

        At least ss_base_model_version, modelspec.architecture and modelspec.implementation.
        """

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        """Load the components on the CPU.  Raises Failure."""

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        """The model's tensors as in its original single file; what such a file commonly lacks is left out."""

    def encoder_files(self, parts: Parts) -> dict[str, dict[str, Tensor]]:
        """The text encoders that the settings save next to that file, by the suffix of their file names: see
        output_names.beside_names().
        """

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """The conditioning of the captions.  Raises Failure."""

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        """Where captions are truncated."""

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        """How sd-scripts names and stores encoded captions; None if they are only kept in memory."""

    def caption_to_file(self, parts: Parts, caption: str, conditioning: Conditioning) -> dict[str, Any]:
        """One caption's tensors, without the first dimension, as numpy arrays under sd-scripts' names."""

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        """The inverse of caption_to_file()."""

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
        """How the model is trained, on the denoiser's device."""

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        """Latents (1, C, h, w) of the picture, drawn by the denoiser alone.

        conditioning: encode_text() of the prompt and the negative prompt, as in training, so that both treat captions
        alike.  scheduler: None for a flow, which has its own.
        """

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """What a LoRA attaches to, in the order of kohya's files."""
