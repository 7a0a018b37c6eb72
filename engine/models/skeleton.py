"""Models without their weights: shapes only, on torch's meta device."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights

from engine.models.recognise import LARGEST_LIST
from engine.reading import small_json

_WITHOUT_WEIGHTS: ContextVar[bool] = ContextVar("without_weights", default=False)


@contextmanager
def without_weights() -> Iterator[None]:
    """Within the block, models load without weights: a family's load() takes milliseconds and no memory."""
    token = _WITHOUT_WEIGHTS.set(True)
    try:
        yield
    finally:
        _WITHOUT_WEIGHTS.reset(token)


def is_without_weights() -> bool:
    return _WITHOUT_WEIGHTS.get()


def components_of(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The components of a model's folder by name, with empty modules and real tokenizers.

    Raises OSError, ValueError, KeyError or AttributeError if a part cannot be created.
    """
    return {part.name: found for part in sorted(folder.iterdir()) if (found := _component(part, dtype)) is not None}


def _component(folder: Path, dtype: torch.dtype) -> Any:
    if (folder / "scheduler_config.json").is_file():
        return small_json(folder / "scheduler_config.json", LARGEST_LIST)
    if (folder / "tokenizer_config.json").is_file():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not (folder / "config.json").is_file():
        return None
    config = small_json(folder / "config.json", LARGEST_LIST)
    name = config.get("_class_name") or config["architectures"][0]
    kind = getattr(importlib.import_module("diffusers" if "_class_name" in config else "transformers"), name)
    with init_empty_weights():
        if "_class_name" in config:
            module = kind.from_config(kind.load_config(folder))
        else:
            module = kind(kind.config_class.from_pretrained(folder))
    if "_class_name" not in config:
        module.tie_weights()  # T5's token embedding is shared by two modules, and empty weights become separate
    return module.to(dtype).eval()
