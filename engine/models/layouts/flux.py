"""FLUX.1's transformer as Black Forest Labs' files have it, and Chroma's, which is made of it."""

from __future__ import annotations

from torch import nn

from engine.models.layouts.entry import Entry, renamed, stacked

PREFIX = ""

_RULES = (
    (r"^x_embedder\.", "img_in."),
    (r"^context_embedder\.", "txt_in."),
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "vector_in.in_layer."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "vector_in.out_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
    (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_1\.", r"\1.in_layer."),
    (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_2\.", r"\1.out_layer."),
    (r"^(distilled_guidance_layer\.norms\.\d+)\.weight$", r"\1.scale"),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^single_transformer_blocks\.(\d+)\.norm\.linear\.", r"single_blocks.\1.modulation.lin."),
    (r"^single_transformer_blocks\.(\d+)\.proj_out\.", r"single_blocks.\1.linear2."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight$", r"single_blocks.\1.norm.query_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight$", r"single_blocks.\1.norm.key_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_([qkv])\.", r"single_blocks.\1.\2."),
    (r"^single_transformer_blocks\.(\d+)\.proj_mlp\.", r"single_blocks.\1.mlp."),
    (r"^transformer_blocks\.(\d+)\.", r"double_blocks.\1."),
    (r"\.norm1\.linear\.", ".img_mod.lin."),
    (r"\.norm1_context\.linear\.", ".txt_mod.lin."),
    (r"\.attn\.norm_q\.weight$", ".img_attn.norm.query_norm.scale"),
    (r"\.attn\.norm_k\.weight$", ".img_attn.norm.key_norm.scale"),
    (r"\.attn\.norm_added_q\.weight$", ".txt_attn.norm.query_norm.scale"),
    (r"\.attn\.norm_added_k\.weight$", ".txt_attn.norm.key_norm.scale"),
    (r"\.attn\.to_out\.0\.", ".img_attn.proj."),
    (r"\.attn\.to_add_out\.", ".txt_attn.proj."),
    (r"\.attn\.to_([qkv])\.", r".img_attn.\1."),
    (r"\.attn\.add_([qkv])_proj\.", r".txt_attn.\1."),
    (r"\.ff\.net\.0\.proj\.", ".img_mlp.0."),
    (r"\.ff\.net\.2\.", ".img_mlp.2."),
    (r"\.ff_context\.net\.0\.proj\.", ".txt_mlp.0."),
    (r"\.ff_context\.net\.2\.", ".txt_mlp.2."),
)


def flux_entries(transformer: nn.Module, prefix: str = PREFIX) -> list[Entry]:
    entries = renamed(transformer, _RULES)
    for part in ("img_attn", "txt_attn"):
        entries = stacked(entries, tuple(f".{part}.{one}" for one in "qkv"), f".{part}.qkv")
    entries = stacked(entries, (".q", ".k", ".v", ".mlp"), ".linear1")
    return [
        Entry(prefix + e.original, e.names, "swapped" if ".adaLN_modulation." in e.original else "same")
        for e in entries
    ]
