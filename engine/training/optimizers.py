"""Optimizers by the names that the settings give them."""

from __future__ import annotations

from typing import Any

import torch

from engine.failure import Failure
from engine.settings.optimizer import Optimizer as OptimizerSettings


def make_optimizer(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimizer over parameter groups that carry their own "lr".

    Raises Failure where the library is missing or refuses the extra arguments.
    """
    try:
        return _class_of(settings.optimizer)(groups, **settings.extra_arguments())
    except (TypeError, ValueError) as error:
        raise Failure(
            f"{settings.optimizer} does not take these extra arguments ({settings.optimizer_args}): {error}.",
            "Empty the field Optimizer extra arguments, or correct it.",
            "optimizer_args",
        ) from error


def full_name(optimizer: torch.optim.Optimizer, settings: OptimizerSettings) -> str:
    """Module, class and extra arguments, as trained files name their optimizer."""
    kind = type(optimizer)
    arguments = ",".join(f"{name}={value}" for name, value in settings.extra_arguments().items())
    return f"{kind.__module__}.{kind.__name__}" + (f"({arguments})" if arguments else "")


def _class_of(name: str) -> Any:
    if name == "AdamW":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except Exception as error:  # a missing CUDA library shows as any kind of error
        raise Failure(
            f"AdamW8bit needs the bitsandbytes library, which does not work here: {error}.",
            "Choose AdamW as the optimizer.",
            "optimizer",
        ) from error
    return AdamW8bit
