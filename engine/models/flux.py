"""FLUX.1: a flow transformer, conditioned on CLIP-L and T5-XXL (Black Forest Labs 2024)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.models import checkpoint, encoders, makers, recognise, vae_files
from engine.models.attachments import by_layout, clip_attachments
from engine.models.clip import tokens_in_chunks
from engine.models.conditioning import CaptionLimit, Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.encoders import Place
from engine.models.layouts.entry import to_original
from engine.models.layouts.flux import flux_entries
from engine.models.parts import Parts
from engine.models.single_file import Weights, config_from, module_from
from engine.models.t5 import t5_states
from engine.models.targets import STANDARD, Reach, Target
from engine.objective.flow_matching import FlowMatching, FlowRecipe
from engine.objective.objective import TrainingObjective
from engine.settings.flux_ranks import INPUTS
from engine.settings.training import TrainingSettings

CONFIGS = makers.CONFIGS / "flux"

TRANSFORMER = "model.diffusion_model."
"""The prefix of the transformer's names in files that contain more."""

BLOCKS = {
    "all": ("double_blocks.", "single_blocks."),
    "double": ("double_blocks.",),
    "single": ("single_blocks.",),
}


def trained_layers(settings: TrainingSettings) -> tuple[str, ...]:
    """What the names of the transformer's layers begin with that get a network."""
    blocks = "single" if settings.flux.split_mode else settings.flux.train_blocks
    inputs = tuple(f"{name}." for name in INPUTS) if settings.flux_ranks.in_dims.strip() else ()
    return BLOCKS[blocks] + inputs


TOLD_GUIDANCE = 3.5
"""FLUX.1-dev's default guidance for samples."""


class Flux:
    name = "FLUX.1"
    trains_text_encoders = False
    word_tables: ClassVar[tuple[str, ...]] = ("clip_l",)
    pipeline = FluxPipeline
    network_module = "networks.lora_flux"

    def __init__(self, settings: TrainingSettings) -> None:
        self._settings = settings.flux
        self._trained = trained_layers(settings)

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        s, recipe = settings.flux, FlowRecipe()
        return {
            "ss_base_model_version": "flux1",
            "ss_model_type": s.flux_model_type,
            "ss_apply_t5_attn_mask": s.apply_t5_attn_mask,
            "ss_weighting_scheme": recipe.weighting,
            "ss_logit_mean": recipe.logit_mean,
            "ss_logit_std": recipe.logit_std,
            "ss_mode_scale": recipe.mode_scale,
            "ss_guidance_scale": s.flux_guidance_scale,
            "ss_timestep_sampling": s.timestep_sampling,
            "ss_sigmoid_scale": 1.0,
            "ss_model_prediction_type": s.model_prediction_type,
            "ss_discrete_flow_shift": s.discrete_flow_shift,
            "modelspec.architecture": "flux-1-dev" if _is_told_guidance(parts) else "flux-1-schnell",
            "modelspec.implementation": "https://github.com/black-forest-labs/flux",
        }

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        return checkpoint.flow_parts(self.pipeline, settings, dtype, partial(self._from_file, settings))

    def _from_file(self, settings: TrainingSettings, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        clip_path = settings.sd3.clip_l or settings.flux.flux1_clip_l
        clip = encoders.place_of(clip_path, "clip_l", weights, encoders.CLIP_L, "CLIP-L")
        clip = encoders.needed(clip, "clip_l", weights, "CLIP-L", "clip_l.safetensors")
        t5, vae = t5_place(settings, weights), vae_place(settings.flux.flux_vae, "flux_vae", weights)
        transformer = transformer_from(weights, FluxTransformer2DModel, _shape_of, dtype, "FLUX.1 model")
        return {
            "transformer": transformer,
            "vae": vae_from(vae, dtype),
            "text_encoder": encoders.clip(clip, dtype, "CLIP-L", projects=False),
            "text_encoder_2": encoders.t5(t5, dtype, "T5-XXL"),
            "tokenizer": makers.clip_tokenizer(weights.file, CONFIGS),
            "tokenizer_2": encoders.t5_tokenizer(weights.file),
            "scheduler": checkpoint.config_of(_scheduler(transformer)),
        }

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        """Only the transformer, which is what FLUX.1's own file contains."""
        return to_original(parts.denoiser, flux_entries(parts.denoiser))

    def encoder_files(self, parts: Parts) -> dict[str, dict[str, Tensor]]:
        """None: they are not trained, and their own files can be used."""
        return {}

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """Returns "states": (B, tokens, channels) of T5's last layer, "mask": (B, tokens) where they belong to a
        caption, and "pooled": (B, channels), CLIP's output at a caption's end.
        """
        clip, t5 = cast("list[Any]", parts.text_encoders)
        chunks = tokens_in_chunks(parts.tokenizers[0], captions, 75)[:, 0]
        pooled = clip(chunks.to(clip.device)).pooler_output
        states, mask = t5_states(
            t5, parts.tokenizers[1], captions, self._t5_tokens(parts), self._settings.apply_t5_attn_mask
        )
        return {"states": states, "mask": mask, "pooled": pooled}

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        """T5's limit; CLIP only contributes a summary of a caption's beginning."""
        return CaptionLimit(parts.tokenizers[1], self._t5_tokens(parts) - 1, "t5xxl_max_token_length")

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        names = frozenset({"l_pooled", "t5_out", "txt_ids", "t5_attn_mask"})
        flags = {"apply_t5_attn_mask": self._settings.apply_t5_attn_mask}
        return CaptionFormat("_flux_te.npz", names, flags, {"t5_out": self._t5_tokens(parts)})

    def caption_to_file(self, parts: Parts, caption: str, conditioning: Conditioning) -> dict[str, Any]:
        states = conditioning["states"].float()
        return {
            "l_pooled": conditioning["pooled"].float().numpy(),
            "t5_out": states.numpy(),
            "txt_ids": states.new_zeros(len(states), 3).numpy(),
            "t5_attn_mask": conditioning["mask"].numpy(),
        }

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        return {"states": arrays["t5_out"], "mask": arrays["t5_attn_mask"], "pooled": arrays["l_pooled"]}

    def _t5_tokens(self, parts: Parts) -> int:
        """FLUX.1-schnell was trained with half of dev's 512 tokens."""
        asked = self._settings.t5xxl_max_token_length
        return asked if _is_told_guidance(parts) or asked != 512 else 256

    def latent_format(self, parts: Parts) -> LatentFormat:
        """sd-scripts stores FLUX.1's latents already shifted and scaled, those of the other models not."""
        return LatentFormat("_flux.npz", True, parts.stride)

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        transformer: Any = parts.denoiser
        height, width = noisy.shape[2:]
        text_ids = torch.zeros(conditioning["states"].shape[1], 3, device=noisy.device, dtype=noisy.dtype)
        guidance = None
        if transformer.config.guidance_embeds:
            guidance = torch.full((len(noisy),), self._settings.flux_guidance_scale, device=noisy.device)
        prediction = transformer(
            hidden_states=packed(noisy),
            timestep=(timesteps / 1000).to(noisy.dtype),
            guidance=guidance,
            encoder_hidden_states=conditioning["states"].to(noisy.dtype),
            pooled_projections=conditioning["pooled"].to(noisy.dtype),
            txt_ids=text_ids,
            img_ids=places_of(height, width).to(noisy),
            joint_attention_kwargs=self._attention(conditioning, height * width // 4),
            return_dict=False,
        )[0]
        return unpacked(prediction, height, width)

    def _attention(self, conditioning: Conditioning, patches: int) -> dict[str, Tensor] | None:
        """Keeps attention off a caption's padding, if the settings ask for that."""
        if not self._settings.apply_t5_attn_mask:
            return None
        mask = conditioning["mask"].bool()
        seen = torch.cat([mask, mask.new_ones(len(mask), patches)], dim=1)
        return {"attention_mask": seen[:, None, None, :]}

    def objective(self, settings: TrainingSettings, parts: Parts) -> TrainingObjective:
        flux = settings.flux
        recipe = FlowRecipe(
            sampling=flux.timestep_sampling,
            shift=flux.discrete_flow_shift,
            reading=flux.model_prediction_type,
        )
        return FlowMatching(settings.objective, recipe)

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        pipeline = FluxPipeline(
            scheduler=_scheduler(parts.denoiser),
            vae=None,
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
            transformer=parts.denoiser,
        )
        pipeline.set_progress_bar_config(disable=True)
        patches = pipeline(
            prompt_embeds=conditioning["states"][:1],
            pooled_prompt_embeds=conditioning["pooled"][:1],
            negative_prompt_embeds=conditioning["states"][1:],
            negative_pooled_prompt_embeds=conditioning["pooled"][1:],
            true_cfg_scale=sample.guidance(1.0),
            guidance_scale=TOLD_GUIDANCE if sample.prompt.told_guidance is None else sample.prompt.told_guidance,
            num_inference_steps=sample.prompt.steps,
            width=sample.width,
            height=sample.height,
            generator=sample.generator(),
            output_type="latent",
        ).images
        return unpacked(patches, 2 * (sample.height // 16), 2 * (sample.width // 16))

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts names the transformer's modules as the original file does; T5 is not trained."""
        clip, transformer = parts.text_encoders[0], parts.denoiser
        return [
            Target(clip, "text_encoder", clip_attachments(clip, "lora_te1", reach)),
            Target(transformer, "unet", by_layout(transformer, flux_entries(transformer), self._trained, reach)),
        ]


def packed(latents: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h/2 · w/2, 4 C): patches of 2×2 as a sequence, row by row."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, height * width // 4, channels * 4)


def unpacked(patches: Tensor, height: int, width: int) -> Tensor:
    """The inverse of packed(), for latents of this height and width."""
    batch, _, values = patches.shape
    latents = patches.view(batch, height // 2, width // 2, values // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return latents.reshape(batch, values // 4, height, width)


def places_of(height: int, width: int) -> Tensor:
    """(h/2 · w/2, 3): 0, row and column of each patch of latents (h, w)."""
    rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


def _is_told_guidance(parts: Parts) -> bool:
    config: Any = parts.denoiser.config
    return bool(config.get("guidance_embeds"))


def _scheduler(transformer: Any) -> Any:
    """FLUX.1-dev's noise schedule shifts with the picture's size; schnell's does not."""
    if transformer.config.guidance_embeds:
        return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def transformer_from(
    weights: Weights,
    kind: Any,
    shape_of: Callable[[Weights, str], dict[str, Any]],
    dtype: torch.dtype,
    what: str,
) -> Any:
    """The transformer of a single file, of the size given by its tensors.  Raises Failure."""
    prefix = TRANSFORMER if weights.has(TRANSFORMER) else ""
    return module_from(
        weights, partial(kind, **config_from(weights, shape_of, prefix, what)), flux_entries, prefix, dtype, what
    )


def t5_place(settings: TrainingSettings, weights: Weights) -> Place:
    """Where T5-XXL is: in a separate file, or in the whole model's.  Raises Failure."""
    path = settings.sd3.t5xxl or settings.flux.flux1_t5xxl
    place = encoders.place_of(path, "t5xxl", weights, encoders.T5, "T5-XXL")
    return encoders.needed(place, "t5xxl", weights, "T5-XXL", "t5xxl_fp16.safetensors")


def vae_place(path: str, option: str, weights: Weights) -> Place:
    """Where the VAE is, which FLUX.1 shares with later models.  path: the option's value.  Raises Failure."""
    place = encoders.place_of(path, option, weights, recognise.VAE_PREFIXES, "VAE")
    return encoders.needed(place, option, weights, "VAE", "ae.safetensors")


def vae_from(place: Place, dtype: torch.dtype) -> Any:
    return vae_files.vae_from_file(place[0], makers.maker(AutoencoderKL, CONFIGS / "vae"), dtype, place[1])


def blocks_of(weights: Weights, prefix: str) -> dict[str, Any]:
    """What the configurations of FLUX.1's and Chroma's transformers have in common, from the shapes of the tensors."""
    width, channels = weights.shape(f"{prefix}img_in.weight")
    head = weights.shape(f"{prefix}double_blocks.0.img_attn.norm.query_norm.scale")[0]
    count = partial(encoders.count, weights)
    return {
        "patch_size": 1,
        "in_channels": channels,
        "num_layers": count(f"{prefix}double_blocks."),
        "num_single_layers": count(f"{prefix}single_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": weights.shape(f"{prefix}txt_in.weight")[1],
        # One eighth of a head is not rotated, the rest by row and column equally.
        "axes_dims_rope": (head // 8, head * 7 // 16, head * 7 // 16),
    }


def _shape_of(weights: Weights, prefix: str) -> dict[str, Any]:
    return blocks_of(weights, prefix) | {
        "pooled_projection_dim": weights.shape(f"{prefix}vector_in.in_layer.weight")[1],
        "guidance_embeds": f"{prefix}guidance_in.in_layer.weight" in weights,
    }
