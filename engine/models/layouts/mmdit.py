"""Stable Diffusion 3's transformer (MMDiT) as Stability AI's files have it."""

from __future__ import annotations

from typing import Any

from engine.models.layouts.entry import Entry, renamed, stacked

PREFIX = "model.diffusion_model."

_RULES = (
    (r"^pos_embed\.proj\.", "x_embedder.proj."),
    (r"^pos_embed\.pos_embed$", "pos_embed"),
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^transformer_blocks\.", "joint_blocks."),
    (r"\.norm1\.linear\.", ".x_block.adaLN_modulation.1."),
    (r"\.norm1_context\.linear\.", ".context_block.adaLN_modulation.1."),
    (r"\.attn\.norm_q\.", ".x_block.attn.ln_q."),
    (r"\.attn\.norm_k\.", ".x_block.attn.ln_k."),
    (r"\.attn\.norm_added_q\.", ".context_block.attn.ln_q."),
    (r"\.attn\.norm_added_k\.", ".context_block.attn.ln_k."),
    (r"\.attn\.to_out\.0\.", ".x_block.attn.proj."),
    (r"\.attn\.to_add_out\.", ".context_block.attn.proj."),
    (r"\.attn\.to_([qkv])\.", r".x_block.attn.\1."),
    (r"\.attn\.add_([qkv])_proj\.", r".context_block.attn.\1."),
    (r"\.attn2\.norm_q\.", ".x_block.attn2.ln_q."),
    (r"\.attn2\.norm_k\.", ".x_block.attn2.ln_k."),
    (r"\.attn2\.to_out\.0\.", ".x_block.attn2.proj."),
    (r"\.attn2\.to_([qkv])\.", r".x_block.attn2.\1."),
    (r"\.ff\.net\.0\.proj\.", ".x_block.mlp.fc1."),
    (r"\.ff\.net\.2\.", ".x_block.mlp.fc2."),
    (r"\.ff_context\.net\.0\.proj\.", ".context_block.mlp.fc1."),
    (r"\.ff_context\.net\.2\.", ".context_block.mlp.fc2."),
)


def mmdit_entries(transformer: Any, prefix: str = PREFIX) -> list[Entry]:
    """Where a block only scales and shifts, diffusers has the scale first and the original the shift."""
    entries = renamed(transformer, _RULES)
    for part in ("x_block.attn", "x_block.attn2", "context_block.attn"):
        entries = stacked(entries, tuple(f".{part}.{one}" for one in "qkv"), f".{part}.qkv")
    last = len(transformer.transformer_blocks) - 1
    swapped = ("final_layer.adaLN_modulation.1.", f"joint_blocks.{last}.context_block.adaLN_modulation.1.")
    return [
        Entry(prefix + e.original, e.names, "swapped" if e.original.startswith(swapped) else "same") for e in entries
    ]
