"""The VAE of every family here as the original files have it."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from engine.models.layouts.entry import Entry, rename

PREFIX = "first_stage_model."

_RULES = (
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
    (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
    (r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.resnets\.", ".block."),
    (r"\.upsamplers\.0\.", ".upsample."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
)


def vae_entries(vae: nn.Module, prefix: str = PREFIX) -> list[Entry]:
    """The original counts the decoder's blocks from the last, and writes the attention's matrices as convolutions."""
    return [_entry(vae, name, prefix) for name in vae.state_dict()]


def _entry(vae: Any, name: str, prefix: str) -> Entry:
    last = len(vae.config.block_out_channels) - 1
    original = re.sub(r"\.up_blocks\.(\d+)\.", lambda found: f".up.{last - int(found[1])}.", name)
    matrix = re.search(r"attentions\.0\.(to_[qkv]|to_out\.0)\.weight$", name)
    return Entry(prefix + rename(original, _RULES), (name,), "pointwise" if matrix else "same")
