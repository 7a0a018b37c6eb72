"""The kinds of networks, a file each, which says its names: nothing else knows one by name."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module

from engine.networks.kind import Kind
from engine.settings.training import TrainingSettings

Maker = Callable[[TrainingSettings], Kind]


@cache
def kinds() -> Mapping[str, Maker]:
    """How each is made, by the LoRA types of the form: the KINDS of all files here."""
    found: dict[str, Maker] = {}
    for file in pkgutil.iter_modules(__path__):
        found |= import_module(f"{__name__}.{file.name}").KINDS
    return found
