"""Stable Diffusion 1 and 2: one UNet, one CLIP text encoder; prediction of noise or of velocity."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.models import checkpoint, makers, noise_schedule, vae_files
from engine.models.attachments import clip_attachments, each_alone, unet_paths
from engine.models.clip import emphasised, hidden_states, joined, last_norm, read
from engine.models.conditioning import CaptionLimit, Conditioning, Reading
from engine.models.depth import depth_beside, depth_of
from engine.models.drawing import Drawing
from engine.models.extra_channels import Depth, Masked, extra_channels_shown, with_extra_channels
from engine.models.layouts.clip import bare_clip_entries, clip_entries, open_clip_entries
from engine.models.layouts.unet import PREFIX as UNET
from engine.models.layouts.unet import original_name, unet_entries
from engine.models.layouts.vae import PREFIX as VAE
from engine.models.layouts.vae import vae_entries
from engine.models.parts import Parts
from engine.models.single_file import Piece, Weights, modules_from, unread_by, weights_from
from engine.models.targets import STANDARD, Reach, Target
from engine.objective.noise_prediction import NoisePrediction
from engine.objective.objective import TrainingObjective
from engine.settings.training import TrainingSettings

CONFIGS = {1: makers.CONFIGS / "sd1", 2: makers.CONFIGS / "sd2"}
"""What a single file lacks: the configuration of its parts."""

CLIP = "cond_stage_model.transformer."
"""The prefix of version 1's text encoder in its files."""

GUIDANCE = 7.5
"""Default classifier-free guidance of samples."""


class StableDiffusion:
    version = 1
    name = "Stable Diffusion 1"
    trains_text_encoders = True
    word_tables: ClassVar[tuple[str, ...]] = ("emb_params",)
    pipeline: Any = StableDiffusionPipeline
    kinds: ClassVar[dict[int, str]] = {
        4: "StableDiffusionPipeline",
        5: "StableDiffusionDepth2ImgPipeline",
        9: "StableDiffusionInpaintPipeline",
    }
    """diffusers' classes by the UNet's input channels, imported when needed."""
    network_module = "networks.lora"
    latent_suffix = "_sd.npz"

    def __init__(self, settings: TrainingSettings | None = None) -> None:
        """Of the settings, only whether they name a VAE matters."""
        self._file: Path | None = None
        self._settings = settings
        self._unread: dict[str, Tensor] = {}

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        of_velocity = parts.prediction == "v_prediction"
        second = "stable-diffusion-v2-768-v" if of_velocity else "stable-diffusion-v2-512"
        return {
            "ss_base_model_version": f"sd_v{self.version}{'_v' if of_velocity else ''}",
            "ss_v2": self.version == 2,
            "modelspec.architecture": "stable-diffusion-v1" if self.version == 1 else second,
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "v" if of_velocity else "epsilon",
            **({"ss_train_inpainting": True} if isinstance(parts.extra_channels, Masked) else {}),
        }

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        kinds = tuple(self.kinds.values())
        found = checkpoint.components(kinds, settings.source_model, dtype, self._from_file)
        unet = found["unet"]
        self.pipeline, extra_channels = checkpoint.kind_of(unet, self.kinds, found, settings)
        vae = vae_files.vae_of(settings, found, dtype)
        return checkpoint.frozen(
            Parts(
                denoiser=unet,
                vae=vae,
                extra_channels=extra_channels,
                text_encoders=[found["text_encoder"]],
                tokenizers=[found["tokenizer"]],
                pipeline=found.get("pipeline", {}),
                **noise_schedule.noise_schedule(found["scheduler"], settings),
            )
        )

    def _from_file(self, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        self._file = weights.file
        configs, bare = CONFIGS[self.version], weights.has(f"{CLIP}embeddings.")
        channels = checkpoint.unet_channels(weights)
        pieces = [piece for piece in self._pieces(channels, bare) if piece.name != "vae"]
        modules = modules_from(weights, pieces, dtype, f"{self.name} model")
        self._unread = unread_by(weights, modules, of_open_clip(pieces))
        return {
            **modules,
            "vae": vae_files.vae_within(weights, configs / "vae", dtype, self._settings),
            "tokenizer": makers.clip_tokenizer(weights.file, configs),
            "scheduler": noise_schedule.scheduler_told(configs, weights),
            **(depth_beside(weights.file, dtype) if channels == 5 else {}),
        }

    def _pieces(self, channels: int = 4, bare: bool = False) -> list[Piece]:
        """The components of the original single file.

        channels: of the UNet's input.  bare: version 1's text encoder has its old names.
        """
        configs, maker = CONFIGS[self.version], makers.maker
        text, prefix = (
            (bare_clip_entries if bare else clip_entries, CLIP)
            if self.version == 1
            else (open_clip_entries, "cond_stage_model.model.")
        )
        return [
            Piece("unet", maker(UNet2DConditionModel, configs / "unet", in_channels=channels), unet_entries, UNET),
            Piece("vae", maker(AutoencoderKL, configs / "vae"), vae_entries, VAE),
            Piece("text_encoder", maker(CLIPTextModel, configs / "text_encoder"), text, prefix),
        ]

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        modules = {"unet": parts.denoiser, "vae": parts.vae, "text_encoder": parts.text_encoders[0]}
        weights = weights_from(modules, self._pieces())
        if self.version == 2:
            weights |= _unused_layer(weights) | self._unread
        return weights | depth_of(self._file) if isinstance(parts.extra_channels, Depth) and self._file else weights

    def encoder_files(self, parts: Parts) -> dict[str, dict[str, Tensor]]:
        """None: the file contains everything."""
        return {}

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """Hidden state `clip_skip` from the end (0 and 1: the last), with the final layer norm applied.

        The text encoder reads 75 tokens at a time, between a start and an end token; its outputs for longer captions
        are joined to one sequence with a single start and end. Returns "states": (B, tokens + 2, channels).
        """
        encoder = parts.text_encoders[0]
        # OpenCLIP, which SD 2 uses, pads with 0 instead of its end token.
        padding = 0 if self.version == 2 else None
        chunks, weights = read(parts.tokenizers[0], captions, reading, padding)
        state, _ = hidden_states(encoder, chunks, reading.clip_skip)
        return {"states": emphasised(joined(last_norm(encoder, state), chunks.shape[1]), weights)}

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        return CaptionLimit(parts.tokenizers[0], reading.tokens, "max_token_length")

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        return None

    def caption_to_file(self, parts: Parts, caption: str, conditioning: Conditioning) -> dict[str, Any]:
        raise NotImplementedError(self.name)

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        raise NotImplementedError(self.name)

    def latent_format(self, parts: Parts) -> LatentFormat:
        vae: Any = parts.vae
        suffix = "_sd_depth.npz" if parts.extra_channels else self.latent_suffix
        return LatentFormat(suffix, False, parts.stride, vae.config.scaling_factor)

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        shown = with_extra_channels(noisy, conditioning)
        prediction: Tensor = parts.denoiser(
            shown, timesteps, encoder_hidden_states=conditioning["states"], return_dict=False
        )[0]
        return prediction

    def objective(self, settings: TrainingSettings, parts: Parts) -> TrainingObjective:
        assert parts.alphas_cumprod is not None
        assert parts.alphas_with_signal is not None
        return NoisePrediction(
            settings.objective,
            parts.alphas_cumprod.to(parts.device),
            parts.alphas_with_signal.to(parts.device),
            of_velocity=parts.prediction == "v_prediction",
        )

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        pipeline = StableDiffusionPipeline(
            vae=None,
            unet=parts.denoiser,
            text_encoder=None,
            tokenizer=None,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        with extra_channels_shown(parts.denoiser, conditioning):
            latents: Tensor = pipeline(
                prompt_embeds=conditioning["states"][:1],
                negative_prompt_embeds=conditioning["states"][1:],
                num_inference_steps=sample.prompt.steps,
                guidance_scale=sample.guidance(GUIDANCE),
                **sample.begin(parts, conditioning["states"].dtype),
                output_type="latent",
            ).images
        return latents

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts' 264 modules at SD 1.5's size: 192 of the UNet, 72 of the text encoder."""
        encoder, unet = parts.text_encoders[0], parts.denoiser
        return [
            Target(encoder, "text_encoder", clip_attachments(encoder, "lora_te", reach)),
            Target(
                unet,
                "unet",
                # sd-scripts names them as diffusers does, ComfyUI as the original file.
                each_alone(unet_paths(unet, reach), "lora_unet", also=partial(original_name, unet)),
            ),
        ]


def of_open_clip(pieces: list[Piece]) -> list[Piece]:
    """The text encoders under OpenCLIP's names, which were trained with a vision model and have tensors unused here."""
    return [piece for piece in pieces if piece.entries is open_clip_entries]


class StableDiffusion2(StableDiffusion):
    version = 2
    name = "Stable Diffusion 2"


def _unused_layer(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stable Diffusion 2 uses its text encoder without the last layer, which folders omit; its files have it."""
    layers = "cond_stage_model.model.transformer.resblocks."
    last = max(int(name.removeprefix(layers).partition(".")[0]) for name in weights if name.startswith(layers))
    return {
        name.replace(f"{layers}{last}.", f"{layers}{last + 1}."): tensor.clone()
        for name, tensor in weights.items()
        if name.startswith(f"{layers}{last}.")
    }
