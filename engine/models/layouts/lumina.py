"""Lumina Image 2.0's transformer (NextDiT) as Alpha-VLLM's files have it."""

from __future__ import annotations

from torch import nn

from engine.models.layouts.entry import Entry, renamed, stacked

PREFIX = ""

_RULES = (
    (r"^time_caption_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
    (r"^time_caption_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
    (r"^time_caption_embed\.caption_embedder\.", "cap_embedder."),
    (r"^norm_out\.linear_1\.", "final_layer.adaLN_modulation.1."),
    (r"^norm_out\.linear_2\.", "final_layer.linear."),
    (r"\.norm1\.linear\.", ".adaLN_modulation.1."),
    (r"\.norm1\.norm\.", ".attention_norm1."),
    (r"\.norm1\.", ".attention_norm1."),  # of the blocks that are not told the time
    (r"\.norm2\.", ".attention_norm2."),
    (r"\.attn\.norm_([qk])\.", r".attention.\1_norm."),
    (r"\.attn\.to_out\.0\.", ".attention.out."),
    (r"\.attn\.to_([qkv])\.", r".attention.\1."),
    (r"\.feed_forward\.linear_([123])\.", r".feed_forward.w\1."),
)


def lumina_entries(transformer: nn.Module, prefix: str = PREFIX) -> list[Entry]:
    """Queries have more rows than keys and values, which several heads share."""
    entries = stacked(renamed(transformer, _RULES), tuple(f".attention.{one}" for one in "qkv"), ".attention.qkv")
    return [Entry(prefix + entry.original, entry.names) for entry in entries]
