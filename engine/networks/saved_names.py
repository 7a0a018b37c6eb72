"""A network's tensors under the names that other programs give them: diffusers', which are peft's, and ComfyUI's.

diffusers takes a strength from nowhere else than the matrices, and ComfyUI does so where no alpha is told: under
diffusers' names it is in the up matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.models.targets import Attachment, Target
from engine.networks.begun_from import held_in
from engine.networks.dialects import place_named
from engine.networks.held import Held
from engine.settings.families import FamilyName
from engine.settings.source_model import LoraDialect

_ENCODERS: Mapping[FamilyName, Mapping[str, tuple[str, str]]] = {
    # diffusers' name of each text encoder, by ours, and what stands before its layers in ComfyUI.
    "sd2": {"te1": ("text_encoder", "clip_h.transformer.")},
    "sdxl-refiner": {"te1": ("text_encoder_2", "clip_g.transformer.")},
    "lumina": {"te1": ("text_encoder", "gemma2_2b.transformer.model.")},
}
_USUAL = {"te1": ("text_encoder", "clip_l.transformer."), "te2": ("text_encoder_2", "clip_g.transformer.")}
_UNETS: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl", "sdxl-refiner")


@dataclass(frozen=True)
class _Module:
    """attachment: what kohya's files have there.  rows: of each of its modules.  diffusers, comfyui: as they name
    what it is in, with the dot behind."""

    attachment: Attachment
    rows: tuple[int, ...]
    diffusers: str
    comfyui: str
    is_encoder: bool

    def path(self, path: str) -> str:
        """CLIP's layers are in a text_model, in files and in what older transformers make of it."""
        return f"text_model.{path}" if self.is_encoder and path.startswith("encoder.") else path


class SavedNames:
    """To be made before a network is put on the targets."""

    def __init__(self, family: FamilyName, targets: Iterable[Target]) -> None:
        self._modules = {
            attachment.name: _module(family, target, attachment)
            for target in targets
            for attachment in target.attachments
        }

    def named(self, weights: Mapping[str, Tensor], dialect: LoraDialect) -> dict[str, Tensor]:
        """weights: of a network's state_dict().  Only what the dialect's program reads can be named by it."""
        if dialect == "ComfyUI":
            return {self._comfyui(*name.partition(".")[::2]): tensor for name, tensor in weights.items()}
        if dialect == "diffusers":
            return {
                name: tensor
                for place, held in held_in(weights).items()
                for name, tensor in _of_peft(self._modules[place], held).items()
            }
        return dict(weights)

    def _comfyui(self, place: str, end: str) -> str:
        module = self._modules[place]
        original = module.attachment.original or module.attachment.paths[0]
        return f"{module.comfyui}{module.path(original)}.{end}"


def _module(family: FamilyName, target: Target, attachment: Attachment) -> _Module:
    part = place_named(attachment.name).part
    layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
    rows = tuple(layer.weight.shape[0] for layer in layers)
    if part == "unet":
        denoiser = "unet." if family in _UNETS else "transformer."
        return _Module(attachment, rows, denoiser, "diffusion_model.", is_encoder=False)
    diffusers, comfyui = _ENCODERS.get(family, _USUAL)[part]
    return _Module(attachment, rows, f"{diffusers}.", f"text_encoders.{comfyui}", is_encoder=True)


def _of_peft(module: _Module, held: Held) -> dict[str, Tensor]:
    """The two matrices of each of its modules, which share the first; and DoRA's magnitudes."""
    up = held.tensors["lora_up.weight"] * (held.alpha / held.rank)
    down, magnitudes = held.tensors["lora_down.weight"], held.tensors.get("dora_scale")
    if (core := held.tensors.get("lora_mid.weight")) is not None:  # which peft does not have: down takes it
        down = torch.einsum("rs...,si->ri...", core, down.flatten(1))
    named: dict[str, Tensor] = {}
    parts = [_split(tensor, module) for tensor in (up, *([] if magnitudes is None else [magnitudes]))]
    for path, *of_path in zip(module.attachment.paths, *parts, strict=True):
        name = f"{module.diffusers}{module.path(path)}"
        named |= {f"{name}.lora_A.weight": down.clone(), f"{name}.lora_B.weight": of_path[0]}
        if magnitudes is not None:
            flat = of_path[1].flatten()
            named[f"{name}.lora_magnitude_vector.weight"] = flat.view(1, -1, 1, 1) if down.dim() == 4 else flat
    return named


def _split(tensor: Tensor, module: _Module) -> list[Tensor]:
    """The rows of each of its modules, in diffusers' order."""
    if module.attachment.swapped:
        tensor = torch.cat(tensor.chunk(2)[::-1])
    return [part.clone() for part in tensor.split(module.rows)]
