"""The UNet of Stable Diffusion 1, 2 and SDXL as CompVis and Stability AI's files have it."""

from __future__ import annotations

from typing import Any

from torch import nn

from engine.models.layouts.entry import Entry, rename

PREFIX = "model.diffusion_model."

_EDGES = (
    (r"^time_embedding\.linear_1\.", "time_embed.0."),
    (r"^time_embedding\.linear_2\.", "time_embed.2."),
    (r"^add_embedding\.linear_1\.", "label_emb.0.0."),
    (r"^add_embedding\.linear_2\.", "label_emb.0.2."),
    (r"^conv_in\.", "input_blocks.0.0."),
    (r"^conv_norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    (r"^mid_block\.resnets\.0\.", "middle_block.0."),
    (r"^mid_block\.attentions\.0\.", "middle_block.1."),
    (r"^mid_block\.resnets\.1\.", "middle_block.2."),
)
_RESNET = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)


def unet_entries(unet: nn.Module, prefix: str = PREFIX) -> list[Entry]:
    return [Entry(prefix + original_name(unet, name), (name,)) for name in unet.state_dict()]


def original_name(unet: Any, name: str) -> str:
    """What the original calls a tensor or module of diffusers' UNet, without the file's prefix.

    The original numbers the layers of all blocks through: of a block's layers, each may hold a resnet and an
    attention, and the last of them the change of size.
    """
    if ".resnets." in name:
        name = rename(f"{name}.", _RESNET).removesuffix(".")
    parts = name.split(".")
    if parts[0] == "down_blocks":
        return ".".join(_down(unet, int(parts[1]), parts[2:]))
    if parts[0] == "up_blocks":
        return ".".join(_up(unet, int(parts[1]), parts[2:]))
    return rename(f"{name}.", _EDGES).removesuffix(".")


def _down(unet: Any, block: int, rest: list[str]) -> list[str]:
    layers = unet.config.layers_per_block
    if rest[0] == "downsamplers":
        return ["input_blocks", str((block + 1) * (layers + 1)), "0", "op", *rest[3:]]
    number = block * (layers + 1) + int(rest[1]) + 1
    return ["input_blocks", str(number), "0" if rest[0] == "resnets" else "1", *rest[2:]]


def _up(unet: Any, block: int, rest: list[str]) -> list[str]:
    layers = unet.config.layers_per_block + 1
    if rest[0] == "upsamplers":
        place = "2" if hasattr(unet.up_blocks[block], "attentions") else "1"
        return ["output_blocks", str((block + 1) * layers - 1), place, "conv", *rest[3:]]
    number = block * layers + int(rest[1])
    return ["output_blocks", str(number), "0" if rest[0] == "resnets" else "1", *rest[2:]]
