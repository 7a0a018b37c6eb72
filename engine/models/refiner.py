"""SDXL's refiner: for the last fifth of sampling, with one text encoder and an aesthetic score (Podell et al. 2023)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from engine.models import makers, noise_schedule
from engine.models.attachments import clip_attachments
from engine.models.conditioning import Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.layouts.clip import open_clip_entries
from engine.models.layouts.unet import PREFIX as UNET
from engine.models.layouts.unet import unet_entries
from engine.models.layouts.vae import PREFIX as VAE
from engine.models.layouts.vae import vae_entries
from engine.models.parts import Parts
from engine.models.sd import GUIDANCE
from engine.models.sdxl import StableDiffusionXL, encoded_by
from engine.models.single_file import Piece, Weights, weights_from
from engine.models.targets import STANDARD, Reach, Target
from engine.models.vae import to_latents
from engine.settings.training import TrainingSettings

CONFIGS = makers.CONFIGS / "sdxl-refiner"
BASE = makers.CONFIGS / "sdxl"
"""What it has in common with the base model."""

TASTE, TASTE_OF_NEGATIVES = 6.0, 2.5
"""Aesthetic scores from 1 to 10: diffusers' defaults for prompts and negative prompts."""

STRENGTH = 0.3
"""How far a sample's picture is noised, as in diffusers."""


class StableDiffusionXLRefiner(StableDiffusionXL):
    name = "SDXL refiner"
    word_tables: ClassVar[tuple[str, ...]] = ("clip_g",)
    kinds: ClassVar[dict[int, str]] = {4: "StableDiffusionXLImg2ImgPipeline"}
    first_encoder = 2
    refines = True

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        return super().facts(settings, parts) | {
            "ss_base_model_version": "sdxl_refiner_v1-0",
            "modelspec.architecture": "stable-diffusion-xl-v1-refiner",
        }

    def _from_file(self, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        return {
            **self._modules_from(weights, dtype),
            "tokenizer_2": makers.clip_tokenizer(weights.file, BASE, "tokenizer_2"),
            "scheduler": noise_schedule.scheduler_told(BASE, weights),
            "pipeline": {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False},
        }

    def _pieces(self, channels: int = 4) -> list[Piece]:
        maker, encoder = makers.maker, CLIPTextModelWithProjection
        return [
            Piece("unet", maker(UNet2DConditionModel, CONFIGS / "unet", in_channels=channels), unet_entries, UNET),
            Piece("vae", maker(AutoencoderKL, BASE / "vae"), vae_entries, VAE),
            Piece(
                "text_encoder_2",
                maker(encoder, BASE / "text_encoder_2"),
                open_clip_entries,
                "conditioner.embedders.0.model.",
            ),
        ]

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        modules = {"unet": parts.denoiser, "vae": parts.vae, "text_encoder_2": parts.text_encoders[0]}
        return weights_from(modules, self._pieces()) | self._unread

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """As the base model's second text encoder reads them; returns "states" and "pooled" of it alone."""
        states, pooled = encoded_by(parts.text_encoders[0], parts.tokenizers[0], captions, reading, 0)
        return {"states": states, "pooled": pooled}

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        """Of the sizes, it takes those of the file and the crop, and then the aesthetic score."""
        taste = torch.full((len(sizes), 1), TASTE, device=sizes.device)
        return super().predict(parts, noisy, timesteps, conditioning, torch.cat([sizes[:, :4], taste.to(sizes)], dim=1))

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        """The prompt's picture refined; without one, all the way from noise, which is more than it was trained for."""
        pipeline = StableDiffusionXLImg2ImgPipeline(
            vae=parts.vae,  # whose configuration it reads
            unet=parts.denoiser,
            text_encoder=None,
            text_encoder_2=parts.text_encoders[0],  # for its width alone
            tokenizer=None,
            tokenizer_2=None,
            scheduler=scheduler,
            requires_aesthetics_score=True,
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        states, pooled, picture = conditioning["states"], conditioning["pooled"], sample.init_image.picture
        if picture is None:
            image, strength = torch.zeros(sample.shape(parts)), 1.0
        else:
            image = to_latents(parts.vae, picture, sample.generator())
            strength = max(STRENGTH, 1 / sample.prompt.steps)  # less than one step would be none
        latents: Tensor = pipeline(
            image=image.to(parts.device, states.dtype),
            strength=strength,
            prompt_embeds=states[:1],
            negative_prompt_embeds=states[1:],
            pooled_prompt_embeds=pooled[:1],
            negative_pooled_prompt_embeds=pooled[1:],
            num_inference_steps=sample.prompt.steps,
            guidance_scale=sample.guidance(GUIDANCE),
            aesthetic_score=TASTE,
            negative_aesthetic_score=TASTE_OF_NEGATIVES,
            generator=sample.generator(),
            output_type="latent",
        ).images
        return latents

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts has none for it; the names are those by which ComfyUI looks for its LoRAs."""
        encoder = parts.text_encoders[0]
        attachments = tuple(  # others count it as the second of SDXL
            replace(each, also=(each.name.replace("lora_te_", "lora_te2_", 1),))
            for each in clip_attachments(encoder, "lora_te", reach)
        )
        return [Target(encoder, "text_encoder", attachments), self.unet_target(parts.denoiser, reach)]
