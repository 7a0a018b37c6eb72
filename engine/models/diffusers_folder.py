"""A whole model as a folder that diffusers' own pipeline loads."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models import classic
from engine.models.extra_channels import Depth
from engine.models.parts import Parts

ONE_FILE = "1000GB"
"""Larger than any module, so that each has its weights in one file."""


def save_folder(folder: Path, pipeline_class: Any, parts: Parts, dtype: torch.dtype, safe: bool) -> None:
    """Write the list of parts, each part's configuration and weights, the tokenizers and the scheduler.

    folder: exists, and is empty.  dtype: of the weights.  safe: as safetensors, else in torch's own format (.bin).
    """
    asked = inspect.signature(pipeline_class).parameters
    modules = _modules(parts, "unet" if "unet" in asked else "transformer")
    others = _numbered("tokenizer", parts.tokenizers, parts.first_encoder) | {
        "scheduler": scheduler_from(parts.scheduler)
    }
    if isinstance(parts.extra_channels, Depth):
        from transformers import DPTImageProcessor

        modules["depth_estimator"] = parts.extra_channels.estimator
        others["feature_extractor"] = DPTImageProcessor()  # its default values are those of the model's own
    said = {"requires_safety_checker": False} | parts.pipeline
    without = {name: None for name, of in asked.items() if of.default is of.empty}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from a safety checker that is left out
        pipeline = pipeline_class(
            **without | modules | others | {name: value for name, value in said.items() if name in asked}
        )
    pipeline.save_config(folder)
    classic.name_classes(folder / "model_index.json")
    for name, module in modules.items():
        own = _in_dtype(module, dtype)
        if isinstance(own, PreTrainedModel):
            classic.save_module(own, folder / name, ONE_FILE)
        else:
            own.save_pretrained(folder / name, max_shard_size=ONE_FILE)
        if not safe:
            _as_torch_file(folder / name)
    for name, other in others.items():
        if name.startswith("tokenizer"):
            classic.save_tokenizer(other, folder / name)
        else:
            other.save_pretrained(folder / name)


def folder_bytes(parts: Parts, dtype: torch.dtype) -> int:
    """The approximate size of such a folder on disk."""
    modules = _modules(parts, "denoiser").values()
    return sum(tensor.numel() for module in modules for tensor in module.state_dict().values()) * dtype.itemsize


def scheduler_from(config: Mapping[str, Any]) -> Any:
    """The scheduler of a configuration; another class if this one does not support zero terminal SNR but should."""
    kind = getattr(diffusers, config["_class_name"])
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in inspect.signature(kind).parameters:
        kind = diffusers.DDIMScheduler
    return kind.from_config(dict(config))


def _modules(parts: Parts, denoiser: str) -> dict[str, nn.Module]:
    return {denoiser: parts.denoiser, "vae": parts.vae} | _numbered(
        "text_encoder", parts.text_encoders, parts.first_encoder
    )


def _numbered(name: str, pieces: list[Any], first: int) -> dict[str, Any]:
    """diffusers' names: number 1 has no number."""
    return {name if number == 1 else f"{name}_{number}": piece for number, piece in enumerate(pieces, start=first)}


def _in_dtype(module: Any, dtype: torch.dtype) -> Any:
    """A copy of a module in main memory; the module itself, which is still being trained, keeps its full precision."""
    kind = type(module)
    with init_empty_weights():
        # The configuration is copied, because saving writes the number format into it.
        own = kind.from_config(module.config) if hasattr(kind, "load_config") else kind(copy.deepcopy(module.config))
    own.load_state_dict({name: converted(t, dtype) for name, t in module.state_dict().items()}, assign=True)
    if hasattr(own, "tie_weights"):
        own.tie_weights()  # a table shared by two names is written only once
    return own


def converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """In main memory, in the number format to save; integers stay as they are."""
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()


def _as_torch_file(folder: Path) -> None:
    """A module's weights in torch's format: diffusers can write it, transformers no longer can, both read it."""
    for file in folder.glob("*.safetensors"):
        stem = "pytorch_model" if file.stem == "model" else file.stem
        torch.save(load_file(file), folder / f"{stem}.bin")
        file.unlink()
