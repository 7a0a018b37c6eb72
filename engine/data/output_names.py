"""The names of the files that a run writes, which are kohya's."""

from __future__ import annotations

from pathlib import Path

from engine.data.steps import StepPlan
from engine.settings.training import TrainingSettings


def epoch_name(name: str, epoch: int) -> str:
    """NAME-000003: after the third epoch."""
    return f"{name}-{epoch:06d}"


def step_name(name: str, step: int) -> str:
    """NAME-step00000500: after 500 steps."""
    return f"{name}-step{step:08d}"


def saved_files(settings: TrainingSettings, plan: StepPlan) -> list[Path]:
    """Every trained file that a whole run will write, the final one last."""
    name, saving = settings.folders.output_name, settings.saving
    per_epoch = plan.steps_per_epoch
    whole_epochs = plan.steps // per_epoch
    names = []
    if saving.save_every_n_epochs:
        every = saving.save_every_n_epochs
        names += [epoch_name(name, e) for e in range(every, whole_epochs + 1, every) if e * per_epoch < plan.steps]
    if saving.save_every_n_steps:
        names += [step_name(name, s) for s in range(saving.save_every_n_steps, plan.steps, saving.save_every_n_steps)]
    folder = Path(settings.folders.output_dir)
    return [folder / f"{n}.{settings.source_model.save_model_as}" for n in [*names, name]]
