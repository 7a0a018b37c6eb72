"""Stable Diffusion 3 and 3.5: a flow transformer, conditioned on two CLIPs and T5-XXL.

Source: Esser et al. 2024, arXiv:2403.03206.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import Tensor

from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.models import checkpoint, encoders, makers, vae_files
from engine.models.attachments import by_layout, clip_attachments
from engine.models.clip import hidden_states, tokens_in_chunks
from engine.models.conditioning import CaptionLimit, Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.layouts.clip import clip_entries
from engine.models.layouts.entry import to_original
from engine.models.layouts.mmdit import PREFIX as TRANSFORMER
from engine.models.layouts.mmdit import mmdit_entries
from engine.models.layouts.vae import vae_entries
from engine.models.parts import Parts
from engine.models.sd import GUIDANCE
from engine.models.sdxl import LAYER
from engine.models.single_file import Weights, config_from, module_from
from engine.models.t5 import t5_states
from engine.models.targets import STANDARD, Reach, Target
from engine.objective.flow_matching import FlowMatching, FlowRecipe
from engine.objective.objective import TrainingObjective
from engine.settings.training import TrainingSettings

CONFIGS = makers.CONFIGS / "sd3"

CLIP_TOKENS = 77

MASKS = ("clip_l_attn_mask", "clip_g_attn_mask", "t5_attn_mask")
"""Names in files of encoded captions, in the order of the tokenizers."""

T5_TOKENS = 256
"""T5 tokens of a caption; the option's own default is FLUX.1's."""

SHIFT = 3.0
"""The noise schedule shift of samples."""


class StableDiffusion3:
    name = "Stable Diffusion 3"
    trains_text_encoders = False
    word_tables: ClassVar[tuple[str, ...]] = ("clip_l", "clip_g")
    pipeline = StableDiffusion3Pipeline
    network_module = "networks.lora_sd3"

    def __init__(self, settings: TrainingSettings) -> None:
        asked = settings.flux.t5xxl_max_token_length
        self._t5_tokens = T5_TOKENS if asked == type(settings.flux)().t5xxl_max_token_length else asked
        self._masks = settings.flux.apply_t5_attn_mask
        self._saves_clip, self._saves_t5 = settings.sd3.save_clip, settings.sd3.save_t5xxl

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        s, size = settings.sd3, _size_of(parts)
        return {
            "ss_base_model_version": size,
            "ss_apply_lg_attn_mask": False,
            "ss_apply_t5_attn_mask": self._masks,
            "ss_weighting_scheme": s.weighting_scheme,
            "ss_logit_mean": s.logit_mean,
            "ss_logit_std": s.logit_std,
            "ss_mode_scale": s.mode_scale,
            "modelspec.architecture": f"stable-diffusion-3-{size}",
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "epsilon",  # sd-scripts' word for all that is neither velocity nor FLUX.1
        }

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        return checkpoint.flow_parts(StableDiffusion3Pipeline, settings, dtype, partial(self._from_file, settings))

    def _from_file(self, settings: TrainingSettings, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        s = settings.sd3
        place_of, needed = encoders.place_of, encoders.needed
        clip_l = place_of(s.clip_l or s.sd3_clip_l, "clip_l", weights, encoders.CLIP_L, "CLIP-L")
        clip_g = place_of(s.clip_g, "clip_g", weights, encoders.CLIP_G, "CLIP-G")
        t5 = place_of(s.t5xxl or s.sd3_t5xxl, "t5xxl", weights, encoders.T5, "T5-XXL")
        clip_l = needed(clip_l, "clip_l", weights, "CLIP-L", "clip_l.safetensors")
        clip_g = needed(clip_g, "clip_g", weights, "CLIP-G", "clip_g.safetensors")
        shape = config_from(weights, _shape_of, TRANSFORMER, f"{self.name} model")
        return {
            "transformer": module_from(
                weights, partial(SD3Transformer2DModel, **shape), mmdit_entries, TRANSFORMER, dtype,
                f"{self.name} model",
            ),
            "vae": vae_files.vae_within(weights, CONFIGS / "vae", dtype, settings),
            "text_encoder": encoders.clip(clip_l, dtype, "CLIP-L", projects=True),
            "text_encoder_2": encoders.clip(clip_g, dtype, "CLIP-G", projects=True),
            "text_encoder_3": encoders.t5(t5, dtype, "T5-XXL") if t5 else None,
            "tokenizer": makers.clip_tokenizer(weights.file, CONFIGS),
            "tokenizer_2": makers.clip_tokenizer(weights.file, CONFIGS),
            "tokenizer_3": encoders.t5_tokenizer(weights.file) if t5 else None,
            "scheduler": checkpoint.config_of(FlowMatchEulerDiscreteScheduler(shift=SHIFT)),
        }  # fmt: skip

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        """The transformer and the VAE, as in the file without text encoders."""
        transformer = to_original(parts.denoiser, mmdit_entries(parts.denoiser))
        return transformer | to_original(parts.vae, vae_entries(parts.vae))

    def encoder_files(self, parts: Parts) -> dict[str, dict[str, Tensor]]:
        clips, t5 = parts.text_encoders[:2], parts.text_encoders[2:]
        files = {}
        if self._saves_clip:
            files = {
                name: to_original(encoder, clip_entries(encoder, ""))
                for name, encoder in zip(("_clip_l", "_clip_g"), clips, strict=True)
            }
        if self._saves_t5 and t5:
            files["_t5xxl"] = encoders.t5_tensors(t5[0])
        return files

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """Returns "states": (B, 77 + T5's tokens, channels): the CLIPs' second-to-last layers side by side, zero-padded
        to T5's width, then T5's last layer; and "pooled": (B, channels), both CLIPs' projections of a caption's end.

        Without a T5, the CLIPs' positions are followed by as many zeros, as in sd-scripts.
        """
        clips = zip(parts.text_encoders[:2], parts.tokenizers[:2], (None, 0), strict=True)
        states, pooled = [], []
        for encoder, tokenizer, padding in clips:
            state, said = hidden_states(encoder, tokens_in_chunks(tokenizer, captions, 75, padding), LAYER)
            states.append(state)
            pooled.append(said.text_embeds)
        beside = torch.cat(states, dim=-1)
        transformer: Any = parts.denoiser
        behind = self._t5_states(parts, captions, beside, transformer.config.joint_attention_dim)
        beside = F.pad(beside, (0, behind.shape[-1] - beside.shape[-1]))
        return {"states": torch.cat([beside, behind], dim=1), "pooled": torch.cat(pooled, dim=-1)}

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        """T5's if there is one, otherwise that of the CLIPs, which cannot be raised."""
        if len(parts.text_encoders) < 3:
            return CaptionLimit(parts.tokenizers[0], 75, "")
        return CaptionLimit(parts.tokenizers[2], self._t5_tokens - 1, "t5xxl_max_token_length")

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        masks = {"clip_l_attn_mask", "clip_g_attn_mask", "t5_attn_mask"}
        flags = {"apply_lg_attn_mask": False, "apply_t5_attn_mask": self._masks}
        return CaptionFormat(
            "_sd3_te.npz",
            frozenset({"lg_out", "lg_pooled", "t5_out", *masks}),
            flags,
            {"t5_out": self._t5_places(parts)},
            revision=int(self._masks),  # T5's states after the caption's end used to be zeros
        )

    def caption_to_file(self, parts: Parts, caption: str, conditioning: Conditioning) -> dict[str, Any]:
        """sd-scripts requires the tokenizers' masks, whether or not they are used."""
        states = conditioning["states"].float()
        widths = sum(cast(Any, encoder).config.hidden_size for encoder in parts.text_encoders[:2])
        arrays = {
            "lg_out": states[:CLIP_TOKENS, :widths].numpy(),
            "lg_pooled": conditioning["pooled"].float().numpy(),
            "t5_out": states[CLIP_TOKENS:].numpy(),
            "t5_attn_mask": torch.zeros(self._t5_places(parts), dtype=torch.int64).numpy(),
        }
        lengths = (CLIP_TOKENS, CLIP_TOKENS, self._t5_tokens)
        for name, tokenizer, length in zip(MASKS, parts.tokenizers, lengths, strict=False):
            read = tokenizer(caption, padding="max_length", max_length=length, truncation=True, return_tensors="np")
            arrays[name] = read.attention_mask[0]
        return arrays

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        beside, behind = arrays["lg_out"], arrays["t5_out"]
        beside = F.pad(beside, (0, behind.shape[-1] - beside.shape[-1]))
        return {"states": torch.cat([beside, behind]), "pooled": arrays["lg_pooled"]}

    def _t5_states(self, parts: Parts, captions: list[str], like: Tensor, width: int) -> Tensor:
        if len(parts.text_encoders) < 3:
            return like.new_zeros(len(captions), self._t5_places(parts), width)
        # apply_t5_attn_mask only affects T5: its output for padding is still passed to the transformer.
        return t5_states(parts.text_encoders[2], parts.tokenizers[2], captions, self._t5_tokens, self._masks)[0]

    def _t5_places(self, parts: Parts) -> int:
        return self._t5_tokens if len(parts.text_encoders) > 2 else CLIP_TOKENS

    def latent_format(self, parts: Parts) -> LatentFormat:
        config = cast(Any, parts.vae).config
        return LatentFormat("_sd3.npz", True, parts.stride, config.scaling_factor, config.shift_factor)

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        prediction: Tensor = parts.denoiser(
            hidden_states=noisy,
            timestep=timesteps.to(noisy.dtype),
            encoder_hidden_states=conditioning["states"].to(noisy.dtype),
            pooled_projections=conditioning["pooled"].to(noisy.dtype),
            return_dict=False,
        )[0]
        return prediction

    def objective(self, settings: TrainingSettings, parts: Parts) -> TrainingObjective:
        """As in sd-scripts for this family: whole timesteps are drawn, and the picture is compared."""
        s = settings.sd3
        recipe = FlowRecipe(
            sampling="density",
            weighting=s.weighting_scheme,
            logit_mean=s.logit_mean,
            logit_std=s.logit_std,
            mode_scale=s.mode_scale,
            reading="sigma_scaled",
        )
        return FlowMatching(settings.objective, recipe)

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        pipeline = StableDiffusion3Pipeline(
            transformer=parts.denoiser,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
            vae=None,
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
            text_encoder_3=None,
            tokenizer_3=None,
        )
        pipeline.set_progress_bar_config(disable=True)
        latents: Tensor = pipeline(
            prompt_embeds=conditioning["states"][:1],
            negative_prompt_embeds=conditioning["states"][1:],
            pooled_prompt_embeds=conditioning["pooled"][:1],
            negative_pooled_prompt_embeds=conditioning["pooled"][1:],
            num_inference_steps=sample.prompt.steps,
            guidance_scale=sample.guidance(GUIDANCE),
            width=sample.width,
            height=sample.height,
            generator=sample.generator(),
            output_type="latent",
        ).images
        return latents

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts names the transformer's modules as the original file does; T5 is not trained."""
        first, second = parts.text_encoders[:2]
        transformer = parts.denoiser
        return [
            Target(first, "text_encoder", clip_attachments(first, "lora_te1", reach)),
            Target(second, "text_encoder", clip_attachments(second, "lora_te2", reach)),
            Target(
                transformer, "unet", by_layout(transformer, mmdit_entries(transformer, ""), ("joint_blocks.",), reach)
            ),
        ]


def _size_of(parts: Parts) -> str:
    """The model's version, 3 or 3.5: only 3.5 normalises queries and keys."""
    config: Any = parts.denoiser.config
    if config.qk_norm is None:
        return "medium"
    return "5-medium" if config.dual_attention_layers else "5-large"


def _shape_of(weights: Weights, prefix: str) -> dict[str, Any]:
    """The transformer's configuration, from the shapes of its tensors."""
    shape = weights.shape
    layers = encoders.count(weights, f"{prefix}joint_blocks.")
    patches = shape(f"{prefix}x_embedder.proj.weight")
    normed = f"{prefix}joint_blocks.0.x_block.attn.ln_q.weight" in weights
    width = patches[0]
    return {
        "patch_size": patches[2],
        "in_channels": patches[1],
        "out_channels": patches[1],
        "num_layers": layers,
        "attention_head_dim": encoders.HEAD,
        "num_attention_heads": width // encoders.HEAD,
        "caption_projection_dim": width,
        "joint_attention_dim": shape(f"{prefix}context_embedder.weight")[1],
        "pooled_projection_dim": shape(f"{prefix}y_embedder.mlp.0.weight")[1],
        "pos_embed_max_size": math.isqrt(shape(f"{prefix}pos_embed")[1]),
        "qk_norm": "rms_norm" if normed else None,
        "dual_attention_layers": tuple(
            layer for layer in range(layers) if f"{prefix}joint_blocks.{layer}.x_block.attn2.qkv.weight" in weights
        ),
    }
