"""Stable Diffusion 1.x: one UNet, one CLIP text encoder, ε-prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

from engine.failure import Failure
from engine.models import checkpoint
from engine.models.family import Parts, Reading, Target
from engine.settings.samples import SamplePrompt
from engine.settings.source_model import SourceModel

CHUNK = 75
"""Tokens that CLIP's text encoder reads at a time, between begin and end."""


class StableDiffusion1:
    name = "sd1"
    kohya_version = "sd_v1"
    architecture = "stable-diffusion-v1"

    def load(self, source: SourceModel, dtype: torch.dtype) -> Parts:
        pipeline = checkpoint.load_pipeline(
            StableDiffusionPipeline, source.pretrained_model_name_or_path, dtype, checkpoint.SD1_CONFIGS
        )
        _require_sd1(pipeline)
        vae = checkpoint.load_vae(AutoencoderKL, source.vae, dtype) if source.vae else pipeline.vae
        noise_scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        parts = Parts(
            unet=pipeline.unet,
            vae=vae,
            text_encoder=pipeline.text_encoder,
            tokenizer=pipeline.tokenizer,
            alphas_cumprod=noise_scheduler.alphas_cumprod.float(),
        )
        for module in parts.modules():
            module.requires_grad_(False)
        return parts

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Tensor:
        """Hidden state `clip_skip` from the end (0 and 1: the last), with the final layer norm applied.

        The text encoder reads 75 tokens at a time, between a begin and an end; what it says of longer captions is
        joined to one sequence with a single begin and end. Returns (B, tokens + 2, channels).
        """
        encoder: Any = parts.text_encoder
        chunks = tokens_in_chunks(parts.tokenizer, captions, reading.tokens).to(encoder.device)
        batch, count, _ = chunks.shape
        states = encoder(chunks.flatten(0, 1), output_hidden_states=True).hidden_states
        if reading.clip_skip >= len(states):
            raise Failure(
                f"Clip skip is {reading.clip_skip}, but this model's text encoder has only {len(states) - 1} layers.",
                "Lower it; 0, 1 and 2 are usual.",
                "clip_skip",
            )
        # Older transformers keep the layers below a text_model; newer ones have them at the top.
        layers = getattr(encoder, "text_model", encoder)
        state = layers.final_layer_norm(states[-max(1, reading.clip_skip)]).unflatten(0, (batch, count))
        words = state[:, :, 1:-1].flatten(1, 2)
        return torch.cat([state[:, 0, :1], words, state[:, -1, -1:]], dim=1)

    def encode_images(self, parts: Parts, pixels: Tensor, generator: list[torch.Generator] | None) -> Tensor:
        """A draw from the VAE's distribution, times its scaling factor (0.18215 for SD 1)."""
        vae: Any = parts.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        return posterior.sample(generator) * vae.config.scaling_factor

    def predict(self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Tensor) -> Tensor:
        return parts.unet(noisy, timesteps, encoder_hidden_states=conditioning, return_dict=False)[0]

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
        pipeline = StableDiffusionPipeline(
            vae=parts.vae,
            unet=parts.unet,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        # Conditioning of our own: it is the one that training uses, clip skip included.
        positive, negative = self.encode_text(parts, [prompt.text, prompt.negative], reading).chunk(2)
        return pipeline(
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            num_inference_steps=prompt.steps,
            guidance_scale=prompt.guidance_scale,
            width=width,
            height=height,
            # Drawn on the CPU, noise is the same on every machine.
            generator=torch.Generator().manual_seed(seed),
        ).images[0]

    def lora_targets(self, parts: Parts) -> list[Target]:
        """sd-scripts' 264 modules at SD 1.5's size: 192 of the UNet, 72 of the text encoder."""
        wrapped = hasattr(parts.text_encoder, "text_model")
        return [
            Target(
                part="text_encoder",
                group="text_encoder",
                prefix="lora_te" if wrapped else "lora_te_text_model",
                modules=tuple(_linears_within(parts.text_encoder, ("CLIPAttention", "CLIPMLP"))),
            ),
            Target(
                part="unet",
                group="unet",
                prefix="lora_unet",
                modules=tuple(_linears_within(parts.unet, ("Transformer2DModel",))),
            ),
        ]


def tokens_in_chunks(tokenizer: Any, captions: list[str], tokens: int) -> Tensor:
    """Captions cut and filled up to `tokens` tokens, in chunks of 75 between begin and end.

    Returns (B, tokens / 75, 77), int64.
    """
    whole = tokenizer(
        captions, padding="max_length", max_length=tokens + 2, truncation=True, return_tensors="pt"
    ).input_ids
    words = whole[:, 1:-1].unflatten(1, (-1, CHUNK))
    begin, end = (whole[:, edge, None, None].expand(-1, words.shape[1], 1) for edge in (0, -1))
    return torch.cat([begin, words, end], dim=2)


def _linears_within(module: nn.Module, classes: tuple[str, ...]) -> Iterator[str]:
    """Paths of every Linear and 1×1 convolution below a module of one of the classes."""
    for path, outer in module.named_modules():
        if type(outer).__name__ in classes:
            for name, inner in outer.named_modules():
                pointwise = isinstance(inner, nn.Conv2d) and inner.kernel_size == (1, 1)
                if isinstance(inner, nn.Linear) or pointwise:
                    yield f"{path}.{name}"


def _require_sd1(pipeline: Any) -> None:
    """Refuse what SD 1's arithmetic would silently train wrongly."""
    kind = type(pipeline).__name__
    unet = pipeline.unet.config
    if unet.in_channels != 4:
        raise Failure(
            f"This model's UNet takes {unet.in_channels} channels: it is an inpainting or depth variant.",
            "Choose an ordinary Stable Diffusion 1 model.",
            checkpoint.MODEL_FIELD,
        )
    prediction = pipeline.scheduler.config.get("prediction_type", "epsilon")
    if unet.cross_attention_dim == 1024 or prediction != "epsilon" or kind != "StableDiffusionPipeline":
        raise Failure(
            f"This is not a Stable Diffusion 1 model ({kind}, {prediction}-prediction).",
            "This version trains Stable Diffusion 1 models; choose one.",
            checkpoint.MODEL_FIELD,
        )
