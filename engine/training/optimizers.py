"""Optimizers by their names in the settings."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from engine.failure import Failure
from engine.settings.optimizer import Optimizer as OptimizerSettings
from engine.settings.optimizer_classes import CLASSES, sets_all_rates


def make_optimizer(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimizer for parameter groups that have their own "lr", ready for its first step.

    Raises Failure if the library is missing or rejects the extra arguments.
    """
    place, implied = CLASSES[settings.optimizer]
    # Some classes require a rate although every group has its own.
    arguments = {"lr": groups[0]["lr"], **implied, **settings.extra_arguments()}
    if sets_all_rates(settings):
        groups = [{**group, "lr": None} for group in groups]
        arguments["lr"] = None
    try:
        optimizer: torch.optim.Optimizer = _class_at(place, settings.optimizer)(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Failure(
            f"{settings.optimizer} does not take these settings ({settings.optimizer_args or 'no extra arguments'}): "
            f"{str(error).rstrip('.')}.",
            "Correct Optimizer extra arguments or the learning rates, or choose another optimizer.",
            "optimizer_args",
        ) from error
    if hasattr(optimizer, "train"):  # schedule-free ones begin at rest
        optimizer.train()
    return optimizer


@contextmanager
def resting_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within the block the parameters are the ones to use and save.

    Schedule-free optimizers train on weights of which these are a running mean (Defazio et al. 2024,
    arXiv:2405.15682). Converting there and back rounds, so the trained weights are restored exactly: a run that
    stops to draw samples ends in the same bits as one that does not.
    """
    if not hasattr(optimizer, "eval"):
        yield
        return
    with as_before([p for group in optimizer.param_groups for p in group["params"]]):
        optimizer.eval()
        try:
            yield
        finally:
            optimizer.train()  # type: ignore[attr-defined]


@contextmanager
def as_before(parameters: list[nn.Parameter]) -> Iterator[None]:
    """After the block the parameters are what they were before it, to the bit; meanwhile a copy is in main memory."""
    before = [parameter.detach().to("cpu", copy=True) for parameter in parameters]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(parameters, before, strict=True):
                parameter.copy_(kept)


def full_name(optimizer: torch.optim.Optimizer, settings: OptimizerSettings) -> str:
    """Module, class and extra arguments, as trained files name their optimizer: sd-scripts appends those that it sets
    itself to the user's, except the one that turns on Nesterov for SGD.
    """
    kind, given = type(optimizer), settings.extra_arguments()
    implied = {name: value for name, value in CLASSES[settings.optimizer][1].items() if name != "nesterov"}
    arguments = ",".join(f"{name}={value}" for name, value in {**given, **(implied | given)}.items())
    return f"{kind.__module__}.{kind.__name__}" + (f"({arguments})" if arguments else "")


def _class_at(place: str, name: str) -> Any:
    module, _, class_name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), class_name)
    except Exception as error:  # a missing CUDA library can raise any kind of error
        raise Failure(
            f"{name} needs the {module.partition('.')[0]} library, which does not work on this machine: {error}.",
            "Choose AdamW as the optimizer.",
            "optimizer",
        ) from error
