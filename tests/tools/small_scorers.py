"""Aesthetic predictors of a few numbers: a CLIP image model with random weights, heads, and an ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

WIDTH, SIDE = 6, 32


def save_clip(folder: Path, width: int = WIDTH) -> Path:
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8,
        projection_dim=width,
    )  # fmt: skip
    model = CLIPVisionModelWithProjection(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    model.save_pretrained(folder)
    side = {"height": SIDE, "width": SIDE}
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=side).save_pretrained(folder)
    return folder


def layers(places: tuple[int, ...], sizes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """layers.N.weight and .bias for the places N in a network, of sizes[i] → sizes[i + 1] numbers."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for place, wide, narrow in zip(places, sizes, sizes[1:], strict=False):
        found[f"layers.{place}.weight"] = torch.randn(narrow, wide, generator=generator)
        found[f"layers.{place}.bias"] = torch.randn(narrow, generator=generator)
    return found


def linear() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    return {"weight": torch.randn(1, WIDTH, generator=generator), "bias": torch.randn(1, generator=generator)}


def save_head(file: Path, tensors: dict[str, torch.Tensor]) -> Path:
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    return file


def save_onnx(file: Path, batch: int | str = "N", answers: int = 1, channels: int = 3) -> Path:
    """A model whose answer is the mean of what it is shown: the first channel's, then the second's, and so on."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Slice", ["means", "from", "to", "axis"], ["output"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("from", 0), ("to", answers), ("axis", 1))
    ]
    graph = helper.make_graph(
        nodes, "scorer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, channels, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, answers])],
        constants,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return file
