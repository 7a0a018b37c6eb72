"""FLUX.1: a transformer that follows a flow, told of captions by CLIP-L and T5-XXL (Black Forest Labs 2024)."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from engine.models import checkpoint, encoders
from engine.models.attachments import by_layout, clip_attachments
from engine.models.clip import tokens_in_chunks
from engine.models.family import Drawing, Encoded, Parts, Reading, Target
from engine.models.layouts.entry import to_original
from engine.models.layouts.flux import flux_entries
from engine.models.single_file import Weights, module_from
from engine.objective.flow_matching import FlowMatching, FlowRecipe
from engine.objective.objective import TrainingObjective
from engine.settings.flux import Flux as FluxSettings
from engine.settings.training import TrainingSettings

CONFIGS = checkpoint.CONFIGS / "flux"

TRANSFORMER = "model.diffusion_model."
"""What stands before the transformer's names in files that hold more than it."""

BLOCKS = {
    "all": ("double_blocks.", "single_blocks."),
    "double": ("double_blocks.",),
    "single": ("single_blocks.",),
}

TOLD_GUIDANCE = 3.5
"""What FLUX.1-dev is told for samples that ask for nothing in particular."""


class Flux:
    """settings: fixed for the whole of a run."""

    name = "FLUX.1"
    trains_text_encoders = False
    network_module = "networks.lora_flux"

    def __init__(self, settings: FluxSettings) -> None:
        self._settings = settings

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        s = settings.flux
        return {
            "ss_base_model_version": "flux1",
            "ss_model_type": s.flux_model_type,
            "ss_apply_t5_attn_mask": s.apply_t5_attn_mask,
            "ss_weighting_scheme": "uniform",
            "ss_guidance_scale": s.flux_guidance_scale,
            "ss_timestep_sampling": s.timestep_sampling,
            "ss_sigmoid_scale": 1.0,
            "ss_model_prediction_type": s.model_prediction_type,
            "ss_discrete_flow_shift": s.discrete_flow_shift,
            "modelspec.architecture": "flux-1-dev" if _is_told_guidance(parts) else "flux-1-schnell",
            "modelspec.implementation": "https://github.com/black-forest-labs/flux",
        }

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        source = settings.source_model
        from_file = partial(self._from_file, settings)
        found = checkpoint.components(FluxPipeline, source.pretrained_model_name_or_path, dtype, from_file)
        vae = checkpoint.vae_of(settings, found, dtype)
        return checkpoint.frozen(
            Parts(
                denoiser=found["transformer"],
                vae=vae,
                text_encoders=[found["text_encoder"], found["text_encoder_2"]],
                tokenizers=[found["tokenizer"], found["tokenizer_2"]],
                prediction="flow",
            )
        )

    def _from_file(self, settings: TrainingSettings, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        transformer = TRANSFORMER if weights.has(TRANSFORMER) else ""
        clip_path = settings.sd3.clip_l or settings.flux.flux1_clip_l
        t5_path = settings.sd3.t5xxl or settings.flux.flux1_t5xxl
        vae_path = settings.flux.flux_vae
        place_of, needed = encoders.place_of, encoders.needed
        clip = place_of(clip_path, "clip_l", weights, encoders.CLIP_L, "CLIP-L")
        t5 = place_of(t5_path, "t5xxl", weights, encoders.T5, "T5-XXL")
        vae = place_of(vae_path, "flux_vae", weights, encoders.VAE, "VAE")
        clip = needed(clip, "clip_l", weights, "CLIP-L", "clip_l.safetensors")
        t5 = needed(t5, "t5xxl", weights, "T5-XXL", "t5xxl_fp16.safetensors")
        vae = needed(vae, "flux_vae", weights, "VAE", "ae.safetensors")
        return {
            "transformer": module_from(
                weights, partial(FluxTransformer2DModel, **_shape_of(weights, transformer)), flux_entries, transformer,
                dtype, "FLUX.1 model",
            ),
            "vae": checkpoint.vae_from_file(
                vae[0], checkpoint.maker(AutoencoderKL, CONFIGS / "vae"), dtype, vae[1]
            ),
            "text_encoder": encoders.clip(clip, dtype, "CLIP-L", projects=False),
            "text_encoder_2": encoders.t5(t5, dtype, "T5-XXL"),
            "tokenizer": checkpoint.clip_tokenizer(weights.file, CONFIGS),
            "tokenizer_2": encoders.t5_tokenizer(weights.file),
        }  # fmt: skip

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        """The transformer alone, which is what FLUX.1's own file holds."""
        return to_original(parts.denoiser, flux_entries(parts.denoiser))

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Encoded:
        """Returns "states": (B, tokens, channels) of T5's last layer, "mask": (B, tokens) where they are a caption's,
        and "pooled": (B, channels), what CLIP says at a caption's end.
        """
        clip, t5 = cast("list[Any]", parts.text_encoders)
        chunks = tokens_in_chunks(parts.tokenizers[0], captions, 75)[:, 0]
        pooled = clip(chunks.to(clip.device)).pooler_output
        tokens = parts.tokenizers[1](
            captions,
            padding="max_length",
            max_length=self._t5_tokens(parts),
            truncation=True,
            return_tensors="pt",
        )
        mask = tokens.attention_mask.to(t5.device)
        looked_at = mask if self._settings.apply_t5_attn_mask else None
        with torch.autocast(t5.device.type, enabled=False):  # float16 is too narrow for what T5 computes
            states = t5(tokens.input_ids.to(t5.device), attention_mask=looked_at)[0]
        return {"states": states, "mask": mask, "pooled": pooled}

    def _t5_tokens(self, parts: Parts) -> int:
        """FLUX.1-schnell was trained with half of dev's 512 tokens."""
        asked = self._settings.t5xxl_max_token_length
        return asked if _is_told_guidance(parts) or asked != 512 else 256

    def predict(self, parts: Parts, noisy: Tensor, timesteps: Tensor, encoded: Encoded, sizes: Tensor) -> Tensor:
        transformer: Any = parts.denoiser
        height, width = noisy.shape[2:]
        text_ids = torch.zeros(encoded["states"].shape[1], 3, device=noisy.device, dtype=noisy.dtype)
        guidance = None
        if transformer.config.guidance_embeds:
            guidance = torch.full((len(noisy),), self._settings.flux_guidance_scale, device=noisy.device)
        answer = transformer(
            hidden_states=packed(noisy),
            timestep=(timesteps / 1000).to(noisy.dtype),
            guidance=guidance,
            encoder_hidden_states=encoded["states"].to(noisy.dtype),
            pooled_projections=encoded["pooled"].to(noisy.dtype),
            txt_ids=text_ids,
            img_ids=places_of(height, width).to(noisy),
            joint_attention_kwargs=self._attention(encoded, height * width // 4),
            return_dict=False,
        )[0]
        return unpacked(answer, height, width)

    def _attention(self, encoded: Encoded, patches: int) -> dict[str, Tensor] | None:
        """Keeps everything from looking at the places of the caption that are empty, where that is wanted."""
        if not self._settings.apply_t5_attn_mask:
            return None
        mask = encoded["mask"].bool()
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

    def draw(self, parts: Parts, sample: Drawing, told: Encoded, scheduler: Any) -> Tensor:
        pipeline = FluxPipeline(
            scheduler=_scheduler(parts),
            vae=None,
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
            transformer=parts.denoiser,
        )
        pipeline.set_progress_bar_config(disable=True)
        patches = pipeline(
            prompt_embeds=told["states"][:1],
            pooled_prompt_embeds=told["pooled"][:1],
            negative_prompt_embeds=told["states"][1:],
            negative_pooled_prompt_embeds=told["pooled"][1:],
            true_cfg_scale=sample.guidance(1.0),
            guidance_scale=TOLD_GUIDANCE if sample.prompt.told_guidance is None else sample.prompt.told_guidance,
            num_inference_steps=sample.prompt.steps,
            width=sample.width,
            height=sample.height,
            generator=sample.generator(),
            output_type="latent",
        ).images
        return unpacked(patches, 2 * (sample.height // 16), 2 * (sample.width // 16))

    def lora_targets(self, parts: Parts) -> list[Target]:
        """sd-scripts names the transformer's modules as the original file does; T5 is not trained."""
        clip, transformer = parts.text_encoders[0], parts.denoiser
        blocks = BLOCKS[self._settings.train_blocks]
        return [
            Target(clip, "text_encoder", clip_attachments(clip, "lora_te1")),
            Target(transformer, "unet", by_layout(transformer, flux_entries(transformer), blocks)),
        ]


def packed(latents: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h/2 · w/2, 4 C): patches of 2×2 as a sequence, row by row."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, height * width // 4, channels * 4)


def unpacked(patches: Tensor, height: int, width: int) -> Tensor:
    """packed() undone, for latents of this height and width."""
    batch, _, values = patches.shape
    latents = patches.view(batch, height // 2, width // 2, values // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return latents.reshape(batch, values // 4, height, width)


def places_of(height: int, width: int) -> Tensor:
    """(h/2 · w/2, 3): 0, row and column of each patch of latents (h, w)."""
    rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


def _is_told_guidance(parts: Parts) -> bool:
    config: Any = parts.denoiser.config
    return bool(config.guidance_embeds)


def _scheduler(parts: Parts) -> Any:
    """FLUX.1-dev's noise moves with the picture's size; schnell's does not."""
    if _is_told_guidance(parts):
        return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def _shape_of(weights: Weights, prefix: str) -> dict[str, Any]:
    """The transformer's configuration, by the shapes of its tensors."""
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
        "pooled_projection_dim": weights.shape(f"{prefix}vector_in.in_layer.weight")[1],
        "guidance_embeds": f"{prefix}guidance_in.in_layer.weight" in weights,
        # One eighth of a head turns with nothing, the rest with row and column alike.
        "axes_dims_rope": (head // 8, head * 7 // 16, head * 7 // 16),
    }
