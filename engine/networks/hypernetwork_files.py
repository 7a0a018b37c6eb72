"""Files of hypernetworks, as AUTOMATIC1111's web UI writes and reads them: PyTorch's format, weights only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.weights_file import write_weights
from engine.networks.hypernetwork import ACTIVATIONS, KEYS, VALUES, Hypernetwork, Structure
from engine.settings.hypernetwork import MOST_LAYERS, NARROWEST, WIDEST

OPTION = "hypernetwork_weights"

OLDER = {"linear1": "linear.0", "linear2": "linear.1"}
"""Names of the first hypernetworks, of two layers."""

SHORT_HASH = 10
"""Digits of a model's SHA-256 by which the web UI names it."""

BEFORE_IT_WAS_SAID = 0.3
"""The dropout of files that say no probability."""


@dataclass(frozen=True)
class Found:
    """weights: float32, by width and use.  steps: that it was trained before."""

    structure: Structure
    weights: Mapping[tuple[int, str], Mapping[str, Tensor]]
    steps: int

    @property
    def widths(self) -> list[int]:
        return list(dict.fromkeys(width for width, _ in self.weights))


def write_hypernetwork(
    file: Path, network: Hypernetwork, *, dtype: torch.dtype, steps: int, metadata: Mapping[str, str]
) -> None:
    """metadata: of the run, which says what model it was trained on.  Raises DiskFull, OSError."""
    s = network.structure
    weights = {
        f"{width}.{use}.{name}": tensor.detach().to("cpu", dtype).contiguous()
        for width in network.widths
        for use in (KEYS, VALUES)
        for name, tensor in network.of(width, use).state_dict().items()
    }
    told: dict[Any, Any] = {
        "step": steps, "name": file.stem, "layer_structure": list(s.widths), "activation_func": s.activation,
        "is_layer_norm": s.layer_norm, "weight_initialization": s.init, "activate_output": s.activate_output,
        "use_dropout": any(s.dropouts), "dropout_structure": list(s.dropouts) if any(s.dropouts) else None,
        "last_layer_dropout": True, "sd_checkpoint": _short_hash(metadata),
        "sd_checkpoint_name": Path(metadata.get("ss_sd_model_name", "")).stem or None,
    }  # fmt: skip
    for width in network.widths:
        told[width] = tuple(_under(f"{width}.{use}.", weights) for use in (KEYS, VALUES))
    write_weights(file, weights, metadata, pickled=told)


def _short_hash(metadata: Mapping[str, str]) -> str | None:
    """Of the base model, where it is a file."""
    said = metadata.get("ss_new_sd_model_hash", "")
    return said[:SHORT_HASH] if re.fullmatch("[0-9a-f]{64}", said) else None


def _under(beginning: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(beginning): tensor for name, tensor in weights.items() if name.startswith(beginning)}


def read_hypernetwork(file: Path) -> Found:
    """Raises Failure."""
    try:
        told = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise _refused(f'There is no file "{file}".') from None
    except Exception as error:
        raise _refused(f"{file.name} is no hypernetwork, or it is damaged.") from error
    try:
        weights = {
            (width, use): {_name_today(name): tensor.float() for name, tensor in of_one.items()}
            for width, both in told.items()
            if isinstance(width, int)
            for use, of_one in zip((KEYS, VALUES), both, strict=True)
        }
        found = Found(_structure(told), weights, int(told.get("step") or 0))
        is_whole = all(tensor.isfinite().all() for one in weights.values() for tensor in one.values())
    except Exception as error:
        raise _refused(f"{file.name} is no hypernetwork, or it is damaged.") from error
    if not weights or not is_whole:
        raise _refused(f"{file.name} is no hypernetwork, or it is damaged.")
    return found


def _structure(told: Mapping[Any, Any]) -> Structure:
    """Raises ValueError where the file says what cannot be built."""
    widths = tuple(float(part) for part in told.get("layer_structure") or (1, 2, 1))
    activation = str(told.get("activation_func") or "linear").lower()
    dropouts = _dropouts(told, len(widths))
    is_sound = 2 <= len(widths) <= MOST_LAYERS and widths[0] == widths[-1] == 1
    if not is_sound or not all(NARROWEST <= width <= WIDEST for width in widths):
        raise ValueError
    if activation not in (*ACTIVATIONS, "linear") or len(dropouts) not in (0, len(widths)):
        raise ValueError
    if not all(0 <= chance < 1 for chance in dropouts):
        raise ValueError
    return Structure(
        widths, activation, bool(told.get("activate_output", True)), bool(told.get("is_layer_norm")), dropouts,
        str(told.get("weight_initialization") or "Normal"),
    )  # fmt: skip


def _dropouts(told: Mapping[Any, Any], count: int) -> tuple[float, ...]:
    """Behind each of so many widths; older files only say that there is any."""
    if not told.get("use_dropout"):
        return ()
    if told.get("dropout_structure"):
        return tuple(float(part) for part in told["dropout_structure"])
    hidden = [BEFORE_IT_WAS_SAID] * (count - 2)
    if hidden and not told.get("last_layer_dropout"):
        hidden[-1] = 0.0
    return (0.0, *hidden, 0.0)


def _name_today(name: str) -> str:
    older, _, end = name.partition(".")
    return f"{OLDER[older]}.{end}" if older in OLDER else name


def _refused(what: str) -> Failure:
    return Failure(what, "Choose a hypernetwork's .pt file, or clear the field.", OPTION)
