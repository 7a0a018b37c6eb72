"""8-bit weights with scales, as ComfyUI and sd-scripts write them: w = q · scale.

The scale of X.weight is X.scale_weight in ComfyUI's older files and in sd-scripts', X.weight_scale in ComfyUI's newer
ones. It is one number for all, one for each row, or one for each block of a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from torch import Tensor

ENDINGS = (".scale_weight", ".weight_scale")

FORMAT = ".comfy_quant"
"""The suffix of the tensor that gives the format: bytes of a JSON."""

BESIDE = (*ENDINGS, ".scale_input", ".input_scale", FORMAT)
"""Other suffixes: for computing in 8 bits, or giving the format."""

MARK = "scaled_fp8"

OF_FOUR_BITS = (".weight_scale_2", ".absmax", ".quant_map")
"""Suffixes of ComfyUI's and bitsandbytes' 4-bit formats."""


def foreign(names: Iterable[str]) -> str:
    """The first tensor in an unknown quantized format; empty if there is none."""
    return next((name for name in names if name.endswith(OF_FOUR_BITS)), "")


LONGEST_FORMAT = 2**12
"""Bytes of a weight's format description, which is a word or two."""


def by_weight(names: Iterable[str]) -> dict[str, str]:
    """Names of scales by the weights that they belong to."""
    return {f"{name.removesuffix(end)}.weight": name for name in names for end in ENDINGS if name.endswith(end)}


def without_scales(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(BESIDE) and name.rpartition(".")[2] != MARK]


def check_format(told: Tensor) -> None:
    """Raises ValueError if a weight's described format is not of the form w = q · scale."""
    if told.numel() > LONGEST_FORMAT:
        raise ValueError("has a description of its format that is too long")
    try:
        name = json.loads(bytes(told.flatten().tolist()))["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("has a description of its format that cannot be read") from error
    if not str(name).startswith("float8_"):
        raise ValueError(f"is in the format {name!r}")


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def widened(weight: Tensor, scale: Tensor) -> Tensor:
    """A weight (out, …) in float32.  scale: of 1 number, of `out`, or (out, blocks, 1).  Raises ValueError."""
    if weight.element_size() != 1 or not weight.is_floating_point() or not scale.is_floating_point():
        raise ValueError(f"is of {_name(weight)} with a scale of {_name(scale)}")
    if not scale.numel() or not weight.numel():
        raise ValueError(f"has the shape {tuple(weight.shape)}, and its scale {tuple(scale.shape)}")
    wide, rows = weight.float(), weight.shape[0]
    scale = scale.float()
    if scale.numel() == 1:
        return wide * scale.reshape(())
    if scale.numel() == rows:
        return wide * scale.reshape(rows, *[1] * (wide.ndim - 1))
    blocks = scale.numel() // rows
    if scale.shape[0] == rows and scale.numel() == rows * blocks and wide[0].numel() % blocks == 0:
        return (wide.reshape(rows, blocks, -1) * scale.reshape(rows, blocks, 1)).reshape(wide.shape)
    raise ValueError(f"has the shape {tuple(weight.shape)}, and its scale {tuple(scale.shape)}")
