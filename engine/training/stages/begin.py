"""First stage: the device, and where the run resumes from."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from engine.data.output_names import SAMPLES
from engine.disk import remove_leftovers
from engine.runs.folder import RunFolder
from engine.runs.saved_state import find_state
from engine.settings.training import TrainingSettings
from engine.training.hardware import Precision, make_accelerator, of_first_process
from engine.training.report import Report
from engine.training.state import SavedState, load_state


@dataclass(frozen=True, kw_only=True)
class Begun:
    """seed: of everything random.  start: steps that are already done."""

    settings: TrainingSettings
    run: RunFolder
    report: Report
    accelerator: Accelerator
    precision: Precision
    seed: int
    start: int

    @property
    def device(self) -> torch.device:
        return self.accelerator.device


def begin(settings: TrainingSettings, run: RunFolder, report: Report) -> tuple[Begun, SavedState | None]:
    """The state is returned separately, to be freed once it is restored: a whole model's is gigabytes.

    Raises Failure if the state cannot be read.
    """
    for folder in (Path(settings.folders.output_dir), Path(settings.folders.output_dir) / SAMPLES) * report.is_first:
        remove_leftovers(folder)
    accelerator, warnings = make_accelerator(settings.hardware)
    report.device = accelerator.device
    for warning in warnings:
        report.warn(warning)
    saved = _saved_state(settings, run)
    begun = Begun(
        settings=settings,
        run=run,
        report=report,
        accelerator=accelerator,
        precision=Precision.of(settings, accelerator.mixed_precision),
        seed=saved.progress.seed if saved else of_first_process(settings.optimizer.seed or _any_seed()),
        start=saved.progress.step if saved else 0,
    )
    return begun, saved


def _saved_state(settings: TrainingSettings, run: RunFolder) -> SavedState | None:
    """The run's own latest state, otherwise the one that the settings name."""
    if find_state(run.state_folder):
        return load_state(run.state_folder)
    if settings.saving.resume:
        return load_state(Path(settings.saving.resume))
    return None


def _any_seed() -> int:
    return random.SystemRandom().randrange(1, 2**32)
