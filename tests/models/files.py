"""The original single files of the small models, made of their diffusers modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.models.layouts.clip import clip_entries, open_clip_entries
from engine.models.layouts.entry import to_original
from engine.models.layouts.flux import flux_entries
from engine.models.layouts.lumina import lumina_entries
from engine.models.layouts.mmdit import mmdit_entries
from engine.models.layouts.unet import unet_entries
from engine.models.layouts.vae import vae_entries

T5_OF = {
    "sd3": ("text_encoder_3", "tokenizer_3"),
    "flux": ("text_encoder_2", "tokenizer_2"),
    "chroma": ("text_encoder", "tokenizer"),
}
"""Which of a pipeline's text encoders is its T5, and that one's tokenizer."""

CONDITIONER = "conditioner.embedders"


def weights_of(family: str, pipeline: Any) -> dict[str, Tensor]:
    """The tensors of the one file that holds the whole model, or of FLUX.1 and what followed it the transformer."""
    if family == "lumina":
        transformer = to_original(pipeline.transformer, lumina_entries(pipeline.transformer))
        return _copied(transformer | {"norm_final.weight": torch.ones(pipeline.transformer.config.hidden_size)})
    if family in ("flux", "chroma"):
        return _copied(to_original(pipeline.transformer, flux_entries(pipeline.transformer)))
    if family == "sd3":
        pieces = [
            to_original(pipeline.transformer, mmdit_entries(pipeline.transformer)),
            to_original(
                pipeline.text_encoder, clip_entries(pipeline.text_encoder, "text_encoders.clip_l.transformer.")
            ),
            to_original(
                pipeline.text_encoder_2, clip_entries(pipeline.text_encoder_2, "text_encoders.clip_g.transformer.")
            ),
            _named(pipeline.text_encoder_3, "text_encoders.t5xxl.transformer."),
        ]
    elif family == "sdxl":
        first, second = pipeline.text_encoder, pipeline.text_encoder_2
        pieces = [
            to_original(pipeline.unet, unet_entries(pipeline.unet)),
            to_original(first, clip_entries(first, f"{CONDITIONER}.0.transformer.")),
            to_original(second, open_clip_entries(second, f"{CONDITIONER}.1.model.")),
        ]
    elif family == "sdxl-refiner":
        second = pipeline.text_encoder_2
        pieces = [
            to_original(pipeline.unet, unet_entries(pipeline.unet)),
            to_original(second, open_clip_entries(second, f"{CONDITIONER}.0.model.")),
        ]
    else:
        encoder = pipeline.text_encoder
        pieces = [
            to_original(pipeline.unet, unet_entries(pipeline.unet)),
            to_original(encoder, open_clip_entries(encoder, "cond_stage_model.model.")),
        ]
    pieces.append(to_original(pipeline.vae, vae_entries(pipeline.vae)))
    return _copied({name: tensor for piece in pieces for name, tensor in piece.items()})


def write_files(family: str, pipeline: Any, folder: Path) -> dict[str, str]:
    """Write the model's file or files, and its tokenizers beside; returns the options that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights_of(family, pipeline), folder / "model.safetensors")
    if family == "sdxl-refiner":
        pipeline.tokenizer_2.save_pretrained(folder / "tokenizer_2")
    else:
        pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    if family == "sd2-depth":
        pipeline.depth_estimator.save_pretrained(folder / "depth_estimator")
    options = {"pretrained_model_name_or_path": str(folder / "model.safetensors")}
    t5, third = T5_OF.get(family, ("", ""))
    if third:
        getattr(pipeline, third).save_pretrained(folder / "tokenizer_2")
    apart: dict[str, dict[str, Tensor]] = {}
    if family in ("flux", "chroma"):
        apart["t5xxl"] = _named(getattr(pipeline, t5), "")
        apart["flux_vae"] = to_original(pipeline.vae, vae_entries(pipeline.vae, ""))
    if family == "lumina":
        apart["lumina_gemma2"] = {f"model.{name}": t for name, t in pipeline.text_encoder.state_dict().items()}
        apart["lumina_ae"] = to_original(pipeline.vae, vae_entries(pipeline.vae, ""))
    if family == "flux":
        apart["clip_l"] = to_original(pipeline.text_encoder, clip_entries(pipeline.text_encoder, ""))
    for option, tensors in apart.items():
        save_file(_copied(tensors), folder / f"{option}.safetensors")
        options[option] = str(folder / f"{option}.safetensors")
    return options


def _named(module: Any, prefix: str) -> dict[str, Tensor]:
    """T5's file has its table of words once."""
    return {prefix + name: tensor for name, tensor in module.state_dict().items() if "embed_tokens" not in name}


def _copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
