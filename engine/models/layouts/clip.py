"""CLIP text encoders: as transformers names them, which most files do, and as OpenCLIP does."""

from __future__ import annotations

from torch import nn

from engine.models.layouts.entry import Entry, renamed, stacked

_OPEN_CLIP = (
    (r"^text_model\.", ""),
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"\.layer_norm1\.", ".ln_1."),
    (r"\.layer_norm2\.", ".ln_2."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"^final_layer_norm\.", "ln_final."),
)


def clip_entries(encoder: nn.Module, prefix: str) -> list[Entry]:
    """Older transformers keep the layers below a text_model, as the files do; newer ones have them at the top."""
    return [
        Entry(prefix + name if name.startswith(("text_model.", "text_projection.")) else f"{prefix}text_model.{name}",
              (name,))
        for name in encoder.state_dict()
    ]  # fmt: skip


def bare_clip_entries(encoder: nn.Module, prefix: str) -> list[Entry]:
    """As files of Stable Diffusion 1 have it that were made with an older transformers: without text_model."""
    return [
        Entry(entry.original.replace(f"{prefix}text_model.", prefix), entry.names)
        for entry in clip_entries(encoder, prefix)
    ]


def open_clip_entries(encoder: nn.Module, prefix: str) -> list[Entry]:
    """OpenCLIP has one matrix for queries, keys and values, and the projection transposed and without a suffix."""
    entries = stacked(renamed(encoder, _OPEN_CLIP), (".attn.q", ".attn.k", ".attn.v"), ".attn.in_proj", joint="_")
    return [
        Entry(f"{prefix}text_projection", entry.names, "transposed")
        if entry.original == "text_projection.weight"
        else Entry(prefix + entry.original, entry.names, entry.change)
        for entry in entries
    ]
