"""Lumina Image 2.0: a flow transformer (NextDiT), conditioned on Gemma 2.

It counts time in the opposite direction to the earlier families: 0 is noise and 1 the picture, and so it predicts the
direction towards the picture. Both are converted where it is called, so that nothing else needs to know.
Source: Qin et al. 2025, arXiv:2503.21758.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
from torch import Tensor

from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.models import checkpoint, encoders
from engine.models.attachments import by_layout, encoder_attachments
from engine.models.conditioning import CaptionLimit, Conditioning, Reading
from engine.models.drawing import Drawing
from engine.models.flux import TRANSFORMER, Flux, vae_from, vae_place
from engine.models.layouts.entry import to_original
from engine.models.layouts.lumina import lumina_entries
from engine.models.parts import Parts
from engine.models.single_file import Weights, config_from, module_from
from engine.models.targets import STANDARD, Reach, Target
from engine.objective import flow
from engine.objective.flow_matching import FlowMatching, FlowRecipe
from engine.objective.objective import TrainingObjective
from engine.settings.training import TrainingSettings

TRAINED = ("context_refiner.", "noise_refiner.", "layers.", "final_layer.")
"""Where a LoRA attaches: sd-scripts leaves out the layers that embed the latents, the timestep and the caption."""

BEGIN = "<Prompt Start>"
"""The separator between the system prompt and the caption."""

SHIFT = 6.0
"""The noise schedule shift of samples."""

GUIDANCE = 4.0
"""Default classifier-free guidance of samples, as in diffusers."""


class LuminaImage2:
    name = "Lumina Image 2.0"
    trains_text_encoders = False
    word_tables: ClassVar[tuple[str, ...]] = ()
    pipeline = Lumina2Pipeline
    network_module = "networks.lora_lumina"

    def __init__(self, settings: TrainingSettings) -> None:
        self._settings = settings.lumina

    def facts(self, settings: TrainingSettings, parts: Parts) -> dict[str, Any]:
        s, recipe = settings.lumina, FlowRecipe()
        return {
            "ss_base_model_version": "lumina2",
            "ss_weighting_scheme": recipe.weighting,
            "ss_logit_mean": recipe.logit_mean,
            "ss_logit_std": recipe.logit_std,
            "ss_mode_scale": recipe.mode_scale,
            "ss_timestep_sampling": s.lumina_timestep_sampling,
            "ss_sigmoid_scale": s.lumina_sigmoid_scale,
            "ss_model_prediction_type": s.lumina_model_prediction_type,
            "ss_discrete_flow_shift": s.lumina_discrete_flow_shift,
            "modelspec.architecture": "lumina-2",
            "modelspec.implementation": "https://github.com/Alpha-VLLM/Lumina-Image-2.0",
            "modelspec.prediction_type": "epsilon",  # sd-scripts' word for all that is neither velocity nor FLUX.1
        }

    def load(self, settings: TrainingSettings, dtype: torch.dtype) -> Parts:
        parts = checkpoint.flow_parts(self.pipeline, settings, dtype, partial(self._from_file, settings))
        if dtype == torch.float16:  # too narrow for what Gemma 2 computes
            parts.text_encoders[0].to(torch.bfloat16)
        return parts

    def _from_file(self, settings: TrainingSettings, weights: Weights, dtype: torch.dtype) -> dict[str, Any]:
        s = settings.lumina
        gemma = encoders.place_of(s.lumina_gemma2, "lumina_gemma2", weights, encoders.GEMMA2, "Gemma2")
        gemma = encoders.needed(gemma, "lumina_gemma2", weights, "Gemma2", "gemma_2_2b_fp16.safetensors")
        vae = vae_place(s.lumina_ae, "lumina_ae", weights)
        prefix = TRANSFORMER if weights.has(TRANSFORMER) else ""
        make = partial(Lumina2Transformer2DModel, **config_from(weights, _shape_of, prefix, f"{self.name} model"))
        return {
            "transformer": module_from(weights, make, lumina_entries, prefix, dtype, f"{self.name} model"),
            "vae": vae_from(vae, dtype),
            "text_encoder": encoders.gemma2(gemma, dtype, "Gemma2"),
            "tokenizer": encoders.gemma2_tokenizer(weights.file),
            "scheduler": checkpoint.config_of(FlowMatchEulerDiscreteScheduler(shift=SHIFT)),
        }

    def to_original(self, parts: Parts) -> dict[str, Tensor]:
        """Only the transformer; the original has a last norm that nothing uses but some programs require."""
        transformer: Any = parts.denoiser
        return to_original(transformer, lumina_entries(transformer)) | {
            "norm_final.weight": torch.ones(transformer.config.hidden_size)
        }

    encoder_files = Flux.encoder_files

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        """Returns "states": (B, tokens, channels) of Gemma 2's last layer but one, and "mask": (B, tokens) where they
        are a text's.

        The system prompt, if there is one, stands before captions and prompts, and not before negative prompts.
        """
        wanted = len(captions) - reading.negatives
        texts = [(self._begin() if place < wanted else "") + caption for place, caption in enumerate(captions)]
        gemma: Any = parts.text_encoders[0]
        tokens = self._read(parts, texts, "pt")
        mask = tokens.attention_mask.to(gemma.device)
        with torch.autocast(gemma.device.type, enabled=False):  # float16 is too narrow for what Gemma 2 computes
            said = gemma(tokens.input_ids.to(gemma.device), attention_mask=mask, output_hidden_states=True)
        return {"states": said.hidden_states[-2], "mask": mask}

    def _begin(self) -> str:
        system = self._settings.lumina_system_prompt
        return f"{system} {BEGIN} " if system else ""

    def _read(self, parts: Parts, texts: list[str], kind: str) -> Any:
        """The texts' tokens as tensors ("pt") or arrays ("np")."""
        return parts.tokenizers[0](
            texts,
            padding="max_length",
            padding_side="right",
            max_length=self._settings.lumina_gemma2_max_token_length,
            truncation=True,
            return_tensors=kind,
        )

    def caption_limit(self, parts: Parts, reading: Reading) -> CaptionLimit:
        """The tokens that the system prompt leaves."""
        tokenizer = parts.tokenizers[0]
        before = len(tokenizer(self._begin()).input_ids)
        tokens = self._settings.lumina_gemma2_max_token_length - before
        return CaptionLimit(tokenizer, tokens, "lumina_gemma2_max_token_length")

    def caption_format(self, parts: Parts) -> CaptionFormat | None:
        names = frozenset({"hidden_state", "attention_mask", "input_ids"})
        lengths = {"hidden_state": self._settings.lumina_gemma2_max_token_length}
        return CaptionFormat("_lumina_te.npz", names, lengths=lengths, before=self._begin())

    def caption_to_file(self, parts: Parts, caption: str, conditioning: Conditioning) -> dict[str, Any]:
        mask = conditioning["mask"].numpy()
        return {
            "hidden_state": conditioning["states"].float().numpy(),
            "attention_mask": mask,
            "input_ids": self._read(parts, [self._begin() + caption], "np").input_ids[0],
        }

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        return {"states": arrays["hidden_state"], "mask": arrays["attention_mask"]}

    def latent_format(self, parts: Parts) -> LatentFormat:
        """Like FLUX.1's, whose VAE it uses, they are stored already shifted and scaled."""
        return LatentFormat("_lumina.npz", True, parts.stride)

    def predict(
        self, parts: Parts, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, sizes: Tensor
    ) -> Tensor:
        prediction: Tensor = parts.denoiser(
            hidden_states=noisy,
            timestep=1 - timesteps / flow.TIMESTEPS,
            encoder_hidden_states=conditioning["states"].to(noisy.dtype),
            encoder_attention_mask=conditioning["mask"],
            return_dict=False,
        )[0]
        return -prediction

    def objective(self, settings: TrainingSettings, parts: Parts) -> TrainingObjective:
        s = settings.lumina
        recipe = FlowRecipe(
            sampling=s.lumina_timestep_sampling,
            shift=s.lumina_discrete_flow_shift,
            sigmoid_scale=s.lumina_sigmoid_scale,
            reading=s.lumina_model_prediction_type,
        )
        return FlowMatching(settings.objective, recipe)

    def draw(self, parts: Parts, sample: Drawing, conditioning: Conditioning, scheduler: Any) -> Tensor:
        pipeline = Lumina2Pipeline(
            transformer=parts.denoiser,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
            vae=None,
            text_encoder=None,
            tokenizer=None,
        )
        pipeline.set_progress_bar_config(disable=True)
        latents: Tensor = pipeline(
            prompt_embeds=conditioning["states"][:1],
            prompt_attention_mask=conditioning["mask"][:1],
            negative_prompt_embeds=conditioning["states"][1:],
            negative_prompt_attention_mask=conditioning["mask"][1:],
            guidance_scale=sample.guidance(GUIDANCE),
            cfg_trunc_ratio=1.0 if (ratio := sample.prompt.cfg_trunc_ratio) is None else ratio,
            cfg_normalization=sample.prompt.renorm_cfg != 0,
            num_inference_steps=sample.prompt.steps,
            width=sample.width,
            height=sample.height,
            generator=sample.generator(),
            output_type="latent",
        ).images
        return latents

    def lora_targets(self, parts: Parts, reach: Reach = STANDARD) -> list[Target]:
        """sd-scripts' 362 modules: 182 of Gemma 2, named as transformers does, and 180 of the transformer, named as the
        original file does.
        """
        gemma, transformer = parts.text_encoders[0], parts.denoiser
        return [
            Target(
                gemma,
                "text_encoder",
                encoder_attachments(gemma, "lora_te", reach, ("Gemma2Attention", "Gemma2MLP")),
            ),
            Target(
                transformer, "unet", by_layout(transformer, lumina_entries(transformer), TRAINED, reach, norms=True)
            ),
        ]


def _shape_of(weights: Weights, prefix: str) -> dict[str, Any]:
    """The transformer's configuration, from the shapes of its tensors."""
    block = f"{prefix}layers.0.attention."
    width, patch = weights.shape(f"{prefix}x_embedder.weight")
    head = weights.shape(f"{block}q_norm.weight")[0]
    heads = weights.shape(f"{block}out.weight")[1] // head
    return {
        "patch_size": 2,
        "in_channels": patch // 4,
        "hidden_size": width,
        "num_layers": encoders.count(weights, f"{prefix}layers."),
        "num_refiner_layers": encoders.count(weights, f"{prefix}noise_refiner."),
        "num_attention_heads": heads,
        "num_kv_heads": (weights.shape(f"{block}qkv.weight")[0] // head - heads) // 2,
        "cap_feat_dim": weights.shape(f"{prefix}cap_embedder.0.weight")[0],
        # A third of a head is rotated by the position in the caption, one by the row, one by the column.
        "axes_dim_rope": (head // 3,) * 3,
    }
