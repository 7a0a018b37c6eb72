"""The VAE, from wherever it is: with the model, or in a separate file, folder or hub repository."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL
from huggingface_hub import try_to_load_from_cache

from engine.failure import Failure, Stopped
from engine.models import hub
from engine.models.hub import local_first
from engine.models.layouts.vae import vae_entries
from engine.models.makers import MODEL_FIELD, maker, own_names
from engine.models.recognise import MOVED, VAE_PREFIXES
from engine.models.single_file import Weights, first_line, module_from
from engine.models.skeleton import is_without_weights
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings


def vae_of(settings: TrainingSettings, found: dict[str, Any], dtype: torch.dtype) -> Any:
    """The VAE that the settings name instead of the model's own, otherwise the model's.  Raises Failure.

    dtype: of its weights, converted from the full precision of their file.
    """
    own, source = found["vae"], settings.source_model.vae
    make = partial(AutoencoderKL.from_config, own.config)
    if source:
        return load_vae(source, dtype, make)
    if own.dtype == dtype or is_without_weights():
        return own.to(dtype)
    return load_vae(settings.source_model.pretrained_model_name_or_path, dtype, make, MODEL_FIELD)


def load_vae(source: str, dtype: torch.dtype, make: Callable[[], Any], option: str = "vae") -> Any:
    """A VAE from a file, a folder (its own or a whole model's), or a hub name.  Raises Failure.

    make: creates one without weights, for a file.  option: the one that names it.
    """
    path, name = Path(source).expanduser(), MOVED.get(source, source)
    try:
        if path.is_file():
            return vae_from_file(Weights(path, option), make, dtype)
        if path.is_dir():
            inner = path / "vae" if (path / "vae").is_dir() else path
            return _vae_in(inner, dtype)
        if not is_hub_name(source):
            raise FileNotFoundError("there is no such file or folder")
        return local_first(lambda local: _vae_of_hub(name, dtype, option, local))
    except (Failure, Stopped):
        raise
    except Exception as error:
        raise Failure(f"The VAE {source!r} cannot be loaded: {first_line(error)}.", option=option) from error


def _vae_of_hub(name: str, dtype: torch.dtype, option: str, local: bool) -> Any:
    """local: as downloaded before.  Raises OSError if it was not."""
    if not local:
        return _vae_in(hub.fetched_module(name, "vae", option, weights=not is_without_weights()), dtype)
    for config in ("vae/config.json", "config.json"):
        cached = try_to_load_from_cache(name, config)
        with suppress(OSError):
            if isinstance(cached, str):
                return _vae_in(Path(cached).parent, dtype)
    raise OSError


def _vae_in(folder: Path, dtype: torch.dtype) -> Any:
    """Raises OSError if a file is missing."""
    if is_without_weights():
        with init_empty_weights():
            return AutoencoderKL.from_config(AutoencoderKL.load_config(folder)).to(dtype).eval()
    return AutoencoderKL.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)


def vae_within(weights: Weights, config: Path, dtype: torch.dtype, settings: TrainingSettings | None) -> Any:
    """The VAE in a whole model's file; one without weights if it has none and the settings name another.

    config: the folder of its configuration.  Raises Failure if there is none and none is named.
    """
    make = maker(AutoencoderKL, config)
    if any(map(weights.has, VAE_PREFIXES)):
        return vae_from_file(weights, make, dtype)
    if settings is None or not settings.source_model.vae:
        raise Failure(f"{weights.file.name} contains no VAE.", "Choose one as VAE.", "vae")
    with init_empty_weights():
        return make()


def vae_from_file(weights: Weights, make: Callable[[], Any], dtype: torch.dtype, prefix: str | None = None) -> Any:
    """A VAE from a separate file, or from that of a whole model.  prefix: of its names, None to look for it."""
    if prefix is None:
        prefix = next((prefix for prefix in VAE_PREFIXES if weights.has(prefix)), "")
    if weights.has("decoder.up_blocks."):  # a file in diffusers' format
        return module_from(weights, make, own_names, prefix, dtype, "VAE")
    return module_from(weights, make, vae_entries, prefix, dtype, "VAE")
