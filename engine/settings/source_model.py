"""Source Model: what is trained, and in which form the result is saved."""

from __future__ import annotations

from typing import Literal

from engine.settings.families import KNOWN
from engine.settings.option import Group, idle, option

Precision = Literal["float", "fp16", "bf16"]
SaveAs = Literal["safetensors", "ckpt", "same as source model", "diffusers", "diffusers_safetensors"]


def lora_form(asked: SaveAs) -> Literal["safetensors", "ckpt"]:
    """A LoRA is a file, whatever form is asked for whole models."""
    return "ckpt" if asked == "ckpt" else "safetensors"


class SourceModel(Group):
    pretrained_model_name_or_path: str = option(
        "runwayml/stable-diffusion-v1-5",
        label="Pretrained model name or path",
        section="Source Model",
        widget="path",
        help="A Hugging Face model name, a diffusers folder, or a .safetensors or .ckpt file. "
        "A LoRA works best on the base model that it was trained on.",
        suggestions=tuple(KNOWN),
        also=("Model Quick Pick", "Base model"),
    )
    vae: str = option(
        "",
        label="VAE (Optional: Path to checkpoint of vae for training)",
        section="Parameters/Advanced",
        widget="path",
        help="Another VAE in place of the model's own: a file, a folder or a Hugging Face name.",
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    save_model_as: SaveAs = option(
        "safetensors",
        label="Save trained model as",
        section="Source Model",
        help="safetensors loads faster and cannot carry code; ckpt is for very old programs only. "
        "diffusers_safetensors is a folder for diffusers, diffusers one with its weights in .bin files. A LoRA is "
        "always a file: safetensors, unless ckpt is chosen.",
        also=("Save model as",),
    )
    save_precision: Precision = option(
        "fp16",
        label="Save precision",
        section="Source Model",
        help="Number format of the saved file. fp16 halves the size of float and loses nothing one can see.",
    )
    model_list: str = option(
        "",
        label="Model list",
        section="Source Model",
        help="kohya_ss's own note of the entry chosen in its list of models.",
        standing=idle(
            "It remembers the entry chosen in kohya_ss's list of models; Pretrained model name or path alone says"
            " which model."
        ),
        also=("Model Quick Pick",),
    )
