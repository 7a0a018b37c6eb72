"""Source Model: what is trained, and in which form the result is saved."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option

Precision = Literal["float", "fp16", "bf16"]


class SourceModel(Group):
    pretrained_model_name_or_path: str = option(
        "runwayml/stable-diffusion-v1-5",
        label="Pretrained model name or path",
        section="Source Model",
        widget="path",
        help="A Hugging Face model name, a diffusers folder, or a .safetensors or .ckpt file. "
        "A LoRA works best on the base model that it was trained on.",
    )
    vae: str = option(
        "",
        label="VAE (Optional: Path to checkpoint of vae for training)",
        section="Source Model",
        widget="path",
        help="Another VAE in place of the model's own: a file, a folder or a Hugging Face name.",
    )
    save_model_as: Literal["safetensors", "ckpt"] = option(
        "safetensors",
        label="Save trained model as",
        section="Source Model",
        help="safetensors loads faster and cannot carry code; ckpt is for very old programs only.",
    )
    save_precision: Precision = option(
        "fp16",
        label="Save precision",
        section="Source Model",
        help="Number format of the saved file. fp16 halves the size of float and loses nothing one can see.",
    )
