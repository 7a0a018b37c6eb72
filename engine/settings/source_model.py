"""Source Model: what is trained, and in which form the result is saved."""

from __future__ import annotations

from typing import Literal

from engine.settings.families import KNOWN
from engine.settings.option import Group, idle, option

Precision = Literal["float", "fp16", "bf16"]
SaveAs = Literal["safetensors", "ckpt", "same as source model", "diffusers", "diffusers_safetensors"]

LoraDialect = Literal["kohya", "diffusers", "ComfyUI"]


def lora_form(asked: SaveAs) -> Literal["safetensors", "ckpt"]:
    """A LoRA is a file, whatever form is asked for whole models."""
    return "ckpt" if asked == "ckpt" else "safetensors"


class SourceModel(Group):
    pretrained_model_name_or_path: str = option(
        "runwayml/stable-diffusion-v1-5",
        label="Pretrained model name or path",
        section="Source Model",
        widget="path",
        help="A Hugging Face model name, a diffusers folder, or a .safetensors or .ckpt file. A LoRA works best on "
        "the base model it was trained on.",
        suggestions=tuple(KNOWN),
        also=("Model Quick Pick", "Base model"),
    )
    vae: str = option(
        "",
        label="VAE (Optional: Path to checkpoint of vae for training)",
        section="Parameters/Advanced",
        widget="path",
        help="A VAE to use instead of the model's own: a file, a folder or a Hugging Face name.",
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    save_model_as: SaveAs = option(
        "safetensors",
        label="Save trained model as",
        section="Source Model",
        help="safetensors loads faster and cannot contain code; ckpt is only for very old programs. "
        "diffusers_safetensors is a folder for diffusers, and diffusers is the same with the weights in .bin "
        "files. A LoRA is always a single file: safetensors, unless you choose ckpt.",
        also=("Save model as",),
    )
    save_precision: Precision = option(
        "fp16",
        label="Save precision",
        section="Source Model",
        help="Number format of the saved file. fp16 is half the size of float with no visible loss.",
    )
    lora_file_dialect: LoraDialect = option(
        "kohya",
        label="LoRA file dialect",
        section="Source Model",
        help="How layers are named in saved LoRA files. Most programs read kohya's names, but diffusers drops what "
        "DoRA adds to them. diffusers' own names are for its load_lora_weights: LoRA and LoCon, but no LoHa, LoKr or "
        "others; ComfyUI does not read DoRA there. ComfyUI's are the original model's, as ai-toolkit writes them; it "
        "reads neither (IA)³ nor FLUX.1 OFT. InvokeAI reads no OFT and no GLoRA. Training continues from any of them.",
        also=("LoRA format", "peft", "diffusers LoRA", "diffusion_model"),
        methods=("lora",),
        ours=True,
    )
    start_from_ema: bool = option(
        False,
        label="Start from the checkpoint's EMA weights",
        section="Source Model",
        help="Original Stable Diffusion checkpoints may hold the UNet twice: as it was trained, which is what is used, "
        "and as an exponential moving average (model_ema), which usually draws better. A file called emaonly "
        "holds the average under the usual names.",
        also=("model_ema", "use_ema"),
        ours=True,
    )
    model_list: str = option(
        "",
        label="Model list",
        section="Source Model",
        help="kohya_ss's own record of which entry was picked in its model list.",
        standing=idle(
            "It records which entry was picked in kohya_ss's model list; here only Pretrained model name or path "
            "decides."
        ),
        also=("Model Quick Pick",),
    )
