"""How the components of a single file are created before their weights are loaded, and where missing ones come from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from engine.failure import Failure
from engine.models.hub import local_first
from engine.models.layouts.entry import Entry

CONFIGS = Path(__file__).parent / "configs"
"""What single files lack: the configuration of their parts, one folder per family."""

CLIP = "openai/clip-vit-large-patch14"

MODEL_FIELD = "pretrained_model_name_or_path"


def maker(module_class: Any, config: Path, **changes: Any) -> Callable[[], Any]:
    """Makes a module from the configuration in a folder.  changes: for a diffusers module."""
    if hasattr(module_class, "load_config"):  # diffusers'
        return partial(module_class.from_config, module_class.load_config(config), **changes)
    return partial(module_class, module_class.config_class.from_pretrained(config))


def own_names(module: Any, prefix: str) -> list[Entry]:
    """The layout of a file that uses the same names as here."""
    return [Entry(prefix + name, (name,)) for name in module.state_dict()]


def clip_tokenizer(file: Path, configs: Path, folder: str = "tokenizer") -> Any:
    """CLIP's tokenizer for a single file."""
    from transformers import CLIPTokenizer

    return tokenizer_beside(file, CLIPTokenizer, folder, CLIP, "vocab.json and merges.txt", configs)


def tokenizer_beside(
    file: Path,
    tokenizer_class: Any,
    folder: str,
    name: str,
    needed: str,
    configs: Path | None = None,
    subfolder: str = "",
) -> Any:
    """A tokenizer that a single file lacks; see piece_beside()."""
    return piece_beside(file, tokenizer_class.from_pretrained, "tokenizer", folder, name, needed, configs, subfolder)


def piece_beside(
    file: Path,
    load: Callable[..., Any],
    what: str,
    folder: str,
    name: str,
    needed: str,
    configs: Path | None = None,
    subfolder: str = "",
) -> Any:
    """A component that a single file lacks: from a folder next to it, from the configs, or from the hub.

    load: from a folder or a name on the hub.  what, needed: the component and its files, for messages.
    name, subfolder: on the hub.  Raises Failure.
    """
    places = [file.with_suffix("") / folder, file.parent / folder, *([configs / folder] if configs else [])]
    for place in places:
        if place.is_dir():
            return load(place)
    try:
        return local_first(lambda local: load(name, subfolder=subfolder, local_files_only=local))
    except (OSError, ValueError) as error:
        raise Failure(
            f"{file.name} needs the {what} of {name}, which is not on this machine, and the Hugging Face hub cannot "
            "be reached.",
            f"Connect to the internet once, or put its {needed} into {file.parent / folder}.",
            MODEL_FIELD,
        ) from error
