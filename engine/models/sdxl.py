"""SDXL: a larger UNet, two text encoders, and the sizes of the pictures as a condition (Podell et al. 2023)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from engine.models import checkpoint, makers, noise_schedule, vae_files
from engine.models.attachments import clip_attachments, each_alone, unet_paths
from engine.models.clip import emphasised, hidden_states, joined, read
from engine.models.conditioning import Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.extra_channels import Masked, extra_channels_shown, with_extra_channels
from engine.models.layouts.clip import clip_entries, open_clip_entries
from engine.models.layouts.unet import PREFIX as UNET
from engine.models.layouts.unet import original_name, unet_entries
from engine.models.layouts.vae import PREFIX as VAE
from engine.models.layouts.vae import vae_entries
from engine.models.parts import Parts
from engine.models.sd import GUIDANCE, StableDiffusion, of_open_clip
from engine.models.single_file import Piece, Weights, modules_from, unread_by, weights_from
from engine.models.targets import STANDARD, Reach, Target
from engine.models.told import NO_TRACE, VELOCITY
from engine.settings.training import TrainingSettings

CONFIGS = makers.CONFIGS / "sdxl"

LAYER = 2
"""Both text encoders are read at the second-to-last layer, whatever clip skip says, as in sd-scripts."""


ENCODERS, TOKENIZERS = ("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2")


def encoded_by(
    encoder: Any, tokenizer: Any, captions: list[str], reading: Reading, padding: int | None
) -> tuple[Tensor, Tensor]:
    """One text encoder's output: (B, tokens + 2, channels) and, if it has a projection, (B, channels) for a caption's
    end.

    padding: the token that captions are padded with, None for the end token.
    """
    chunks, weights = read(tokenizer, captions, reading, padding)
    state, said = hidden_states(encoder, chunks, LAYER)
    states = emphasised(joined(state, chunks.shape[1]), weights)
    projected = getattr(said, "text_embeds", None)
    return states, torch.empty(0) if projected is None else projected.unflatten(0, (-1, chunks.shape[1]))[:, 0]


class StableDiffusionXL:
    name = "SDXL"
    trains_text_encoders = True
    word_tables: ClassVar[tuple[str, ...]] = ("clip_l", "clip_g")
    pipeline: Any = StableDiffusionXLPipeline
    kinds: ClassVar[dict[int, str]] = {4: "StableDiffusionXLPipeline", 9: "StableDiffusionXLInpaintPipeline"}
    network_module = "networks.lora"
    latent_suffix = "_sdxl.npz"
    first_encoder = 1
    refines = False

    def __init__(self, settings: TrainingSettings | None = None) -> None:
        """Of the settings, only whether they name a VAE matters."""
        self._settings = settings
        self._unread: dict[str, Tensor] = {}

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        return {
            "ss_base_model_version": "sdxl_base_v1-0",
            "modelspec.architecture": "stable-diffusion-xl-v1-base",
            "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
            "modelspec.prediction_type": "v" if parts.prediction == "v_prediction" else "epsilon",
            **({"ss_train_inpainting": True} if isinstance(parts.extra_channels, Masked) else {}),
        }

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        kinds = tuple(self.kinds.values())
        found = checkpoint.components(kinds, settings.source_model, dtype, self._from_file)
        self.pipeline, extra_channels = checkpoint.kind_of(found["unet"], self.kinds, found, settings)
        vae = vae_files.vae_of(settings, found, torch.float32 if settings.sdxl.sdxl_no_half_vae else dtype)
        return checkpoint.frozen(
            Parts(
                denoiser=found["unet"],
                vae=vae,
                extra_channels=extra_channels,
                text_encoders=[found[name] for name in ENCODERS if found.get(name) is not None],
                tokenizers=[found[name] for name in TOKENIZERS if found.get(name) is not None],
                first_encoder=self.first_encoder,
                refines=self.refines,
                pipeline=found.get("pipeline", {}),
                **noise_schedule.noise_schedule(found["scheduler"], settings),
            )
        )

    def _from_file(self, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        return {
            **self._modules_from(weights, dtype),
            "tokenizer": makers.clip_tokenizer(weights.file, CONFIGS),
            "tokenizer_2": makers.clip_tokenizer(weights.file, CONFIGS),
            "scheduler": noise_schedule.scheduler_told(CONFIGS, weights),
        }

    def _modules_from(self, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        pieces = [piece for piece in self._pieces(checkpoint.unet_channels(weights)) if piece.name != "vae"]
        modules = modules_from(weights, pieces, dtype, f"{self.name} model")
        self._unread = unread_by(weights, modules, of_open_clip(pieces))
        return modules | {"vae": vae_files.vae_within(weights, CONFIGS / "vae", dtype, self._settings)}

    def _pieces(self, channels: int = 4) -> list[Piece]:
        """The components of the original single file.  channels: of the UNet's input."""
        maker, second = makers.maker, CLIPTextModelWithProjection
        embedders = "conditioner.embedders"
        return [
            Piece("unet", maker(UNet2DConditionModel, CONFIGS / "unet", in_channels=channels), unet_entries, UNET),
            Piece("vae", maker(AutoencoderKL, CONFIGS / "vae"), vae_entries, VAE),
            Piece(
                "text_encoder",
                maker(CLIPTextModel, CONFIGS / "text_encoder"),
                clip_entries,
                f"{embedders}.0.transformer.",
            ),
            Piece(
                "text_encoder_2", maker(second, CONFIGS / "text_encoder_2"), open_clip_entries, f"{embedders}.1.model."
            ),
        ]

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        first, second = parts.text_encoders
        modules = {"unet": parts.denoiser, "vae": parts.vae, "text_encoder": first, "text_encoder_2": second}
        weights = weights_from(modules, self._pieces()) | self._unread
        if parts.prediction == "v_prediction":
            weights[VELOCITY] = torch.empty(0)
        if parts.alphas_cumprod is not None and parts.alphas_cumprod[-1] == 0:
            weights[NO_TRACE] = torch.empty(0)
        return weights

    encoder_files = StableDiffusion.encoder_files

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """Returns "states": (B, tokens + 2, both encoders' channels), the second-to-last layer without a layer norm,
        and "pooled": (B, channels), the second encoder's projection of a caption's end.

        For a caption of several chunks, "pooled" comes from the first.
        """
        (first, second), tokenizers = parts.text_encoders, parts.tokenizers
        states, _ = encoded_by(first, tokenizers[0], captions, reading, None)
        more, pooled = encoded_by(second, tokenizers[1], captions, reading, 0)
        return {"states": torch.cat([states, more], dim=-1), "pooled": pooled}

    caption_limit = StableDiffusion.caption_limit
    latent_format = StableDiffusion.latent_format
    caption_format = StableDiffusion.caption_format
    caption_to_file = StableDiffusion.caption_to_file
    caption_from_file = StableDiffusion.caption_from_file
    objective = StableDiffusion.objective

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        prediction: Tensor = parts.denoiser(
            with_extra_channels(noisy, conditioning),
            timesteps,
            encoder_hidden_states=conditioning["states"],
            added_cond_kwargs={
                "text_embeds": conditioning["pooled"],
                "time_ids": sizes.to(noisy.device, torch.float32),
            },
            return_dict=False,
        )[0]
        return prediction

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        pipeline = StableDiffusionXLPipeline(
            vae=None,
            unet=parts.denoiser,
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            scheduler=scheduler,
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        states, pooled = conditioning["states"], conditioning["pooled"]
        with extra_channels_shown(parts.denoiser, conditioning):
            latents: Tensor = pipeline(
                prompt_embeds=states[:1],
                negative_prompt_embeds=states[1:],
                pooled_prompt_embeds=pooled[:1],
                negative_pooled_prompt_embeds=pooled[1:],
                num_inference_steps=sample.prompt.steps,
                guidance_scale=sample.guidance(GUIDANCE),
                **sample.begin(parts, states.dtype),
                output_type="latent",
            ).images
        return latents

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts names the UNet's modules as the original file does."""
        first, second = parts.text_encoders
        return [
            Target(first, "text_encoder", clip_attachments(first, "lora_te1", reach)),
            Target(second, "text_encoder", clip_attachments(second, "lora_te2", reach)),
            self.unet_target(parts.denoiser, reach),
        ]

    def unet_target(self, unet: nn.Module, reach: Reach) -> Target:
        # Under the original's names (input_blocks.0.0, time_embed.0, out.2) LyCORIS's presets find none of the edges.
        named = partial(original_name, unet)
        return Target(unet, "unet", each_alone(unet_paths(unet, replace(reach, edges=()), named), "lora_unet", named))
