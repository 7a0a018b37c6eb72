"""The jobs there are: a settings class and a function each, imported only when run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.settings.option import Group
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class Job:
    """function: "module:name" of (settings, run, report) → ("done" or "stopped", steps done)."""

    settings: type[Group]
    function: str
    help: str

    def load(self) -> Callable[..., tuple[Any, int]]:
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)


JOBS: dict[str, Job] = {
    "train": Job(TrainingSettings, "engine.training.train:train", "Train as a settings file says."),
}
