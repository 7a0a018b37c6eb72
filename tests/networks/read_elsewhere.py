"""Network files merged into diffusers' pipelines without the engine: by each kind's formula, under published names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.networks.formulas import by_place, change


@dataclass(frozen=True)
class Place:
    """layers: those whose rows are one matrix in the file, in this order.  swapped: its two halves are, there."""

    layers: tuple[Any, ...]
    swapped: bool = False

    def rows(self, of: str) -> Tensor:
        """Of all layers, as the file orders them.  of: weight or bias."""
        return self._turned(torch.cat([getattr(layer, of) for layer in self.layers]))

    def put(self, of: str, rows: Tensor) -> None:
        parts = self._turned(rows).split([len(layer.weight) for layer in self.layers])
        for layer, part in zip(self.layers, parts, strict=True):
            getattr(layer, of).copy_(part)

    def _turned(self, rows: Tensor) -> Tensor:
        return torch.cat(rows.chunk(2)[::-1]) if self.swapped else rows


@torch.no_grad()
def merge(file: Path, pipeline: Any) -> None:
    """Change the weights of a pipeline of diffusers' as the file says."""
    places = dict(_places(pipeline))
    for name, held in by_place(load_file(file)).items():
        place = places[name.replace("oft_unet", "lora_unet")]
        if "w_norm" in held:
            (norm,) = place.layers
            norm.weight.add_(held["w_norm"])
            if "b_norm" in held:
                norm.bias.add_(held["b_norm"])
            continue
        weight = place.rows("weight")
        place.put("weight", weight + change(held, weight))
        if "diff_b" in held:
            place.put("bias", place.rows("bias") + held["diff_b"])


Named = Iterator[tuple[str, Place]]


def _places(pipeline: Any) -> Named:
    """The layers by what files call them: as diffusers and transformers do for Stable Diffusion 1 and for text
    encoders, as the authors' own code does for transformers.
    """
    transformers = {"FluxPipeline": _of_flux, "Lumina2Pipeline": _of_lumina, "StableDiffusion3Pipeline": _of_sd3}
    prefixes = {"FluxPipeline": ("lora_te1_text_model",), "Lumina2Pipeline": ("lora_te",),
                "StableDiffusion3Pipeline": ("lora_te1_text_model", "lora_te2_text_model")}  # fmt: skip
    name = type(pipeline).__name__
    if name in transformers:
        for place, found in transformers[name](pipeline.transformer):
            yield f"lora_unet_{place}", found
    else:
        yield from _each_alone(pipeline.unet, "lora_unet")
    encoders = (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None))
    for encoder, prefix in zip(encoders, prefixes.get(name, ("lora_te_text_model",)), strict=False):
        yield from _each_alone(encoder, prefix)


def _each_alone(module: Any, prefix: str) -> Named:
    # transformers 5 has no text_model around CLIP's layers, but in encoders with a projection.
    for path, layer in getattr(module, "text_model", module).named_modules():
        yield f"{prefix}_{path.replace('.', '_')}", Place((layer,))


def _of_flux(transformer: Any) -> Named:
    """Black Forest Labs' names: double blocks of two streams, and single ones."""
    for number, block in enumerate(transformer.transformer_blocks):
        attention, prefix = block.attn, f"double_blocks_{number}"
        yield f"{prefix}_img_attn_qkv", Place((attention.to_q, attention.to_k, attention.to_v))
        yield f"{prefix}_txt_attn_qkv", Place((attention.add_q_proj, attention.add_k_proj, attention.add_v_proj))
        yield f"{prefix}_img_attn_proj", Place((attention.to_out[0],))
        yield f"{prefix}_txt_attn_proj", Place((attention.to_add_out,))
        yield f"{prefix}_img_mod_lin", Place((block.norm1.linear,))
        yield f"{prefix}_txt_mod_lin", Place((block.norm1_context.linear,))
        yield f"{prefix}_img_mlp_0", Place((block.ff.net[0].proj,))
        yield f"{prefix}_img_mlp_2", Place((block.ff.net[2],))
        yield f"{prefix}_txt_mlp_0", Place((block.ff_context.net[0].proj,))
        yield f"{prefix}_txt_mlp_2", Place((block.ff_context.net[2],))
    for number, block in enumerate(transformer.single_transformer_blocks):
        attention, prefix = block.attn, f"single_blocks_{number}"
        yield f"{prefix}_linear1", Place((attention.to_q, attention.to_k, attention.to_v, block.proj_mlp))
        yield f"{prefix}_linear2", Place((block.proj_out,))
        yield f"{prefix}_modulation_lin", Place((block.norm.linear,))


def _of_lumina(transformer: Any) -> Named:
    """Alpha-VLLM's names; blocks of the context refiner are not told the time."""
    for part in ("layers", "noise_refiner", "context_refiner"):
        for number, block in enumerate(getattr(transformer, part)):
            attention, prefix = block.attn, f"{part}_{number}"
            yield f"{prefix}_attention_qkv", Place((attention.to_q, attention.to_k, attention.to_v))
            yield f"{prefix}_attention_out", Place((attention.to_out[0],))
            for one in (1, 2, 3):
                yield f"{prefix}_feed_forward_w{one}", Place((getattr(block.feed_forward, f"linear_{one}"),))
            if part != "context_refiner":
                yield f"{prefix}_adaLN_modulation_1", Place((block.norm1.linear,))
    yield "final_layer_adaLN_modulation_1", Place((transformer.norm_out.linear_1,))
    yield "final_layer_linear", Place((transformer.norm_out.linear_2,))


def _of_sd3(transformer: Any) -> Named:
    """Stability AI's names.  Of the last block's context only the modulation and the attention's input act; there
    diffusers has the scale before the shift.
    """
    for number, block in enumerate(transformer.transformer_blocks):
        attention, prefix, is_last = block.attn, f"joint_blocks_{number}", block.context_pre_only
        x, context = f"{prefix}_x_block", f"{prefix}_context_block"
        yield f"{x}_attn_qkv", Place((attention.to_q, attention.to_k, attention.to_v))
        yield f"{x}_attn_proj", Place((attention.to_out[0],))
        yield f"{x}_adaLN_modulation_1", Place((block.norm1.linear,))
        yield f"{x}_mlp_fc1", Place((block.ff.net[0].proj,))
        yield f"{x}_mlp_fc2", Place((block.ff.net[2],))
        if second := block.attn2:
            yield f"{x}_attn2_qkv", Place((second.to_q, second.to_k, second.to_v))
            yield f"{x}_attn2_proj", Place((second.to_out[0],))
        yield f"{context}_attn_qkv", Place((attention.add_q_proj, attention.add_k_proj, attention.add_v_proj))
        yield f"{context}_adaLN_modulation_1", Place((block.norm1_context.linear,), swapped=is_last)
        if not is_last:
            yield f"{context}_attn_proj", Place((attention.to_add_out,))
            yield f"{context}_mlp_fc1", Place((block.ff_context.net[0].proj,))
            yield f"{context}_mlp_fc2", Place((block.ff_context.net[2],))
