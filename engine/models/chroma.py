"""Chroma: a smaller FLUX.1-schnell, conditioned on T5-XXL alone, without a guidance input.

A small network (distilled_guidance_layer) computes the modulations of all blocks from the timestep.
Source: Lodestone Rock 2025, https://huggingface.co/lodestones/Chroma1-HD.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler
from diffusers.models.transformers.transformer_chroma import ChromaSingleTransformerBlock
from torch import Tensor

from engine.data.caption_files import CaptionFormat
from engine.models import checkpoint, encoders
from engine.models.attachments import by_layout
from engine.models.conditioning import CaptionLimit, Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.flux import (
    Flux,
    blocks_of,
    packed,
    places_of,
    t5_place,
    transformer_from,
    unpacked,
    vae_from,
    vae_place,
)
from engine.models.layouts.flux import flux_entries
from engine.models.parts import Parts
from engine.models.single_file import Weights
from engine.models.t5 import t5_states
from engine.models.targets import STANDARD, Reach, Target
from engine.settings.training import TrainingSettings

GUIDANCE = 3.0
"""Default classifier-free guidance of samples, as the model's authors use."""

LOOKED_AT_BEHIND = 1
"""Padding tokens after a caption that the model was trained to attend to, as in sd-scripts and diffusers."""


class Chroma(Flux):
    name = "Chroma"
    pipeline = ChromaPipeline
    word_tables: ClassVar[tuple[str, ...]] = ()

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        return super().facts(settings, parts) | {
            "ss_base_model_version": "chroma",
            "ss_model_type": "chroma",
            "ss_apply_t5_attn_mask": True,
            "ss_guidance_scale": 0.0,
            "modelspec.architecture": "chroma",
            "modelspec.implementation": "https://huggingface.co/lodestones/Chroma",
        }

    def _from_file(self, settings: TrainingSettings, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        t5, vae = t5_place(settings, weights), vae_place(settings.flux.flux_vae, "flux_vae", weights)
        return {
            "transformer": transformer_from(weights, ChromaTransformer2DModel, _shape_of, dtype, "Chroma model"),
            "vae": vae_from(vae, dtype),
            "text_encoder": encoders.t5(t5, dtype, "T5-XXL"),
            "tokenizer": encoders.t5_tokenizer(weights.file),
            "scheduler": checkpoint.config_of(_scheduler()),
        }

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """Returns "states": (B, tokens, channels) of T5's last layer, and "seen": (B, tokens), the positions that the
        transformer attends to: the caption's and one after them.
        """
        tokens = self._settings.t5xxl_max_token_length
        states, mask = t5_states(parts.text_encoders[0], parts.tokenizers[0], captions, tokens, masked=True)
        lengths = mask.sum(dim=1, keepdim=True) + LOOKED_AT_BEHIND
        return {"states": states, "seen": torch.arange(mask.shape[1], device=mask.device) < lengths}

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        tokens = self._settings.t5xxl_max_token_length - 1
        return CaptionLimit(parts.tokenizers[0], tokens, "t5xxl_max_token_length")

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        """sd-scripts stores a CLIP output in these files, which Chroma does not have."""
        return None

    caption_to_file = Flux.caption_to_file
    caption_from_file = Flux.caption_from_file
    latent_format = Flux.latent_format

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        """Positions that no caption of the batch uses are cut off; a batch of one then needs no mask."""
        transformer: Any = parts.denoiser
        height, width = noisy.shape[2:]
        states, seen = _shortened(conditioning)
        mask = None
        if not seen.all():
            mask = torch.cat([seen, seen.new_ones(len(seen), height * width // 4)], dim=1)
        with _masked_where_recomputed(transformer, mask):
            prediction = transformer(
                hidden_states=packed(noisy),
                timestep=(timesteps / 1000).to(noisy.dtype),
                encoder_hidden_states=states.to(noisy.dtype),
                txt_ids=torch.zeros(states.shape[1], 3, device=noisy.device, dtype=noisy.dtype),
                img_ids=places_of(height, width).to(noisy),
                attention_mask=mask,
                return_dict=False,
            )[0]
        return unpacked(prediction, height, width)

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        """The masks are booleans: diffusers' own are numbers, which it adds to the attention."""
        pipeline = ChromaPipeline(
            scheduler=_scheduler(),
            vae=None,
            text_encoder=None,
            tokenizer=None,
            transformer=parts.denoiser,
        )
        pipeline.set_progress_bar_config(disable=True)
        states, seen = _shortened(conditioning)
        patches = pipeline(
            prompt_embeds=states[:1],
            prompt_attention_mask=seen[:1],
            negative_prompt_embeds=states[1:],
            negative_prompt_attention_mask=seen[1:],
            guidance_scale=sample.guidance(GUIDANCE),
            num_inference_steps=sample.prompt.steps,
            width=sample.width,
            height=sample.height,
            generator=sample.generator(),
            output_type="latent",
        ).images
        return unpacked(patches, 2 * (sample.height // 16), 2 * (sample.width // 16))

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts names the modules as FLUX.1's; the modulations, which no block has its own of, are left out."""
        transformer = parts.denoiser
        return [Target(transformer, "unet", by_layout(transformer, flux_entries(transformer), self._trained, reach))]


def _scheduler() -> Any:
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def _shortened(conditioning: Conditioning) -> tuple[Tensor, Tensor]:
    """(states, seen) without the positions that nothing in the batch attends to."""
    longest = int(conditioning["seen"].sum(dim=1).max())
    return conditioning["states"][:, :longest], conditioning["seen"][:, :longest]


@contextmanager
def _masked_where_recomputed(transformer: Any, mask: Tensor | None) -> Iterator[None]:
    """diffusers forgets the mask of the single blocks when gradient checkpointing recomputes them."""
    recompute = getattr(transformer, "_gradient_checkpointing_func", None)
    if mask is None or recompute is None:
        yield
        return

    def with_mask(block: Any, *given: Any) -> Any:
        if isinstance(block, ChromaSingleTransformerBlock):
            block = partial(block, attention_mask=mask)
        return recompute(block, *given)

    transformer._gradient_checkpointing_func = with_mask
    try:
        yield
    finally:
        transformer._gradient_checkpointing_func = recompute


def _shape_of(weights: Weights, prefix: str) -> dict[str, Any]:
    layer = f"{prefix}distilled_guidance_layer."
    hidden, channels = weights.shape(f"{layer}in_proj.weight")
    return blocks_of(weights, prefix) | {
        "approximator_num_channels": channels,
        "approximator_hidden_dim": hidden,
        "approximator_layers": encoders.count(weights, f"{layer}layers."),
    }
