"""SD 1's single-file layout (Rombach et al.'s own module names), from a diffusers pipeline."""

from __future__ import annotations

import re

from diffusers import StableDiffusionPipeline
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_layout(pipeline: StableDiffusionPipeline) -> dict[str, Tensor]:
    """All weights under model.diffusion_model., first_stage_model. and cond_stage_model.transformer."""
    weights = {f"model.diffusion_model.{unet_name(n)}": t for n, t in pipeline.unet.state_dict().items()}
    for name, tensor in pipeline.vae.state_dict().items():
        new = vae_name(name)
        pointwise = re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight", new)
        weights[f"first_stage_model.{new}"] = tensor[..., None, None] if pointwise else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        inner = name.removeprefix("text_model.")
        weights[f"cond_stage_model.transformer.text_model.{inner}"] = tensor
    return {name: tensor.contiguous() for name, tensor in weights.items()}


def unet_name(name: str) -> str:
    """A level has two resnets and, but for the last, a downsampler; its blocks are numbered through."""
    name = re.sub(r"^time_embedding\.linear_(\d)", lambda m: f"time_embed.{2 * (int(m[1]) - 1)}", name)
    for ours, theirs in {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}.items():
        name = re.sub(rf"^{ours}\.", f"{theirs}.", name)
    if match := re.match(r"down_blocks\.(\d)\.(resnets|attentions|downsamplers)\.(\d)\.(.*)", name):
        level, kind, index, rest = int(match[1]), match[2], int(match[3]), match[4]
        block = 3 * level + 1 + (2 if kind == "downsamplers" else index)
        place = 1 if kind == "attentions" else 0
        rest = rest.replace("conv.", "op.") if kind == "downsamplers" else _resnet(rest, kind)
        return f"input_blocks.{block}.{place}.{rest}"
    if match := re.match(r"up_blocks\.(\d)\.(resnets|attentions|upsamplers)\.(\d)\.(.*)", name):
        level, kind, index, rest = int(match[1]), match[2], int(match[3]), match[4]
        block = 3 * level + (2 if kind == "upsamplers" else index)
        place = {"resnets": 0, "attentions": 1, "upsamplers": 1 if level == 0 else 2}[kind]
        return f"output_blocks.{block}.{place}.{_resnet(rest, kind)}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        place = {"resnets": 2 * int(match[2]), "attentions": 1}[match[1]]
        return f"middle_block.{place}.{_resnet(match[3], match[1])}"
    return name


def _resnet(rest: str, kind: str) -> str:
    part, _, end = rest.partition(".")
    return f"{RESNET[part]}.{end}" if kind == "resnets" else rest


def vae_name(name: str) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"mid_block\.attentions\.0\.(.*)\.(weight|bias)",
                  lambda m: f"mid.attn_1.{VAE_ATTENTION[m[1]]}.{m[2]}", name)  # fmt: skip
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
