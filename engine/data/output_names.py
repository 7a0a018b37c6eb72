"""The names of the files that a run writes, which are kohya's."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from engine.data.steps import StepPlan
from engine.settings.training import TrainingSettings

_EPOCH_DIGITS, _STEP_DIGITS = 6, 8


def epoch_name(name: str, epoch: int) -> str:
    """NAME-000003: after the third epoch."""
    return f"{name}-{epoch:0{_EPOCH_DIGITS}d}"


def step_name(name: str, step: int) -> str:
    """NAME-step00000500: after 500 steps."""
    return f"{name}-step{step:0{_STEP_DIGITS}d}"


def state_name(stem: str) -> str:
    """NAME-state: the folder with the training state beside a trained file of that name."""
    return f"{stem}-state"


def free_name(file: Path) -> Path:
    """The path itself, or with -2, -3 … behind its name where it is taken."""
    number, free = 1, file
    while free.exists():
        number += 1
        free = file.with_name(f"{file.stem}-{number}{file.suffix}")
    return free


def _alike(name: str) -> str:
    """One text for names that Windows and macOS take for the same; elsewhere a question too many does no harm."""
    return unicodedata.normalize("NFC", name).casefold()


class OutputFiles:
    """The trained files that a whole run will write: known by rule, however many they are."""

    def __init__(self, settings: TrainingSettings, plan: StepPlan) -> None:
        self._saving, self._plan = settings.saving, plan
        self._name = _alike(settings.folders.output_name)
        self._folder = Path(settings.folders.output_dir)
        self._ending = f".{settings.source_model.save_model_as}"
        name = re.escape(self._name)
        self._epoch = re.compile(rf"{name}-(\d{{{_EPOCH_DIGITS},}})")
        self._step = re.compile(rf"{name}-step(\d{{{_STEP_DIGITS},}})")

    def __len__(self) -> int:
        last = self._plan.steps - 1
        epochs, steps = self._saving.save_every_n_epochs, self._saving.save_every_n_steps
        return 1 + (last // (epochs * self._plan.steps_per_epoch) if epochs else 0) + (last // steps if steps else 0)

    def existing(self) -> list[Path]:
        """What is in the output folder already under a name that the run will use: files, and states beside them."""
        if not self._folder.is_dir():
            return []
        return sorted(Path(entry.path) for entry in os.scandir(self._folder) if self._will_write(entry.name))

    def _will_write(self, file_name: str) -> bool:
        file_name = _alike(file_name)
        if file_name.endswith(self._ending):
            stem = file_name.removesuffix(self._ending)
            return stem == self._name or self._is_on_the_way(stem)
        stem = file_name.removesuffix(state_name(""))
        if stem == file_name:
            return False
        if stem == self._name:
            return self._saving.save_state or self._saving.save_state_on_train_end
        return self._saving.save_state and self._is_on_the_way(stem)

    def _is_on_the_way(self, stem: str) -> bool:
        return self._is_epoch(stem) or self._is_step(stem)

    def _is_epoch(self, stem: str) -> bool:
        found, every = self._epoch.fullmatch(stem), self._saving.save_every_n_epochs
        epoch = int(found[1]) if found else 0
        return bool(epoch and every) and epoch % every == 0 and epoch * self._plan.steps_per_epoch < self._plan.steps

    def _is_step(self, stem: str) -> bool:
        found, every = self._step.fullmatch(stem), self._saving.save_every_n_steps
        step = int(found[1]) if found else 0
        return bool(step and every) and step % every == 0 and step < self._plan.steps
