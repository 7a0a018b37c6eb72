"""A run that is asked to stop on its way."""

from __future__ import annotations

from typing import Any

from engine.runs.folder import RunFolder
from engine.training.report import Report


class Stopping(Report):
    """Asks the run to stop after three steps."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(run.writer())
        self._run = run

    def step(self, step: int, *others: Any, **more: Any) -> None:
        super().step(step, *others, **more)
        if step == 3:
            self._run.ask("stop")
