"""What happens between two steps: files, states and samples when they are due, and requests from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from engine.data.output_names import epoch_name, free_stem, holds_other_things, saved_names, state_name, step_name
from engine.data.steps import StepPlan
from engine.disk import removed
from engine.runs.events import Checkpoint, StateSaved
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.saved_state import Progress, delete_state
from engine.settings.saving import Saving
from engine.settings.training import TrainingSettings
from engine.training.hardware import of_first_process
from engine.training.metadata import RunMetadata
from engine.training.method import Method
from engine.training.report import Report, broken_down
from engine.training.samples import Sampler
from engine.training.state import save_state
from engine.training.validation import ValidationLoss

STATE_EVERY = 120.0
"""Seconds of training that a power cut may cost, and more only where writing the state itself takes long."""


@dataclass
class Milestones:
    """Looks after every step.  memory: gives the optimizer's, schedule's and scaler's state to be saved.

    resting: within its block the weights are those to be used and saved.
    """

    settings: TrainingSettings
    run: RunFolder
    plan: StepPlan
    method: Method
    metadata: RunMetadata
    sampler: Sampler
    report: Report
    accelerator: Accelerator
    memory: Callable[[], dict[str, Any]]
    resting: Callable[[], AbstractContextManager[None]]
    validation: ValidationLoss | None = None

    def __post_init__(self) -> None:
        self._control = self.run.control()
        self._state_kept = time.monotonic()
        self._state_took = 0.0

    def before_step(self, first: int) -> bool:
        """Do what is due before this engine's first step (1, or more where a run goes on); True where it is to stop.

        A run that was stopped rather than to be measured is measured when it goes on.
        """
        behind = first - 1
        if (behind == 0 or self._measures(behind)) and not self._is_measured(behind) and self._validate(behind):
            return True
        if behind == 0 and self.settings.samples.sample_at_first:
            self._draw(0)
        return False

    def after(self, step: int) -> bool:
        """Do what is due after `step` steps (from 1); True where the run was asked to stop here."""
        name, saving, samples = self.settings.folders.output_name, self.settings.saving, self.settings.samples
        epoch = self._epoch(step)
        wants = self._requests()
        # Before the state is kept: a run that goes on from it does not measure again.
        if self._measures(step) and self._validate(step):
            wants.add("stop")
        if step < self.plan.steps:
            by_step, by_epoch = due(step, saving.save_every_n_steps), due(epoch, saving.save_every_n_epochs)
            asked = bool(wants & {"save", "stop"})
            keeps_state = by_step or by_epoch or asked or self._state_is_due()
            if keeps_state:
                self._refuse_broken_weights(step)
            if by_step:
                self._save_step(step)
            elif asked:
                # Nobody could foresee this name before the start, so nobody was asked about overwriting it.
                self._save(free_stem(self.settings, step_name(name, step)), step, with_state=False)
            if by_epoch and epoch:
                self._save(epoch_name(name, epoch), step, with_state=saving.save_state)
                self._drop(partial(epoch_name, name), past_epochs(epoch, saving))
            if keeps_state:
                self._keep_state(self.run.state_folder, step)
        if "stop" in wants:
            return step < self.plan.steps
        if epoch and due(epoch, samples.sample_every_n_epochs):
            self._draw(step, epoch)
        elif due(step, samples.sample_every_n_steps) or "sample" in wants:
            self._draw(step)
        return False

    def after_last_step(self) -> None:
        saving, name = self.settings.saving, self.settings.folders.output_name
        at_end = saving.save_state or saving.save_state_on_train_end
        self._refuse_broken_weights(self.plan.steps)
        if due(self.plan.steps, saving.save_every_n_steps):  # the same once more, as sd-scripts has it
            self._save_step(self.plan.steps)
        self._save(name, self.plan.steps, with_state=at_end, final=True)
        if self.accelerator.is_main_process:
            delete_state(self.run.state_folder)

    def _save_step(self, step: int) -> None:
        """The file of a step that Save every N steps asks for, in whose place an older one goes."""
        named, saving = partial(step_name, self.settings.folders.output_name), self.settings.saving
        self._save(named(step), step, with_state=saving.save_state)
        self._drop(named, past_steps(step, saving))

    def _save(self, stem: str, step: int, with_state: bool, final: bool = False) -> None:
        if not self.accelerator.is_main_process:
            return
        if holds_other_things(self._file(stem)):  # put there since the checks before the start
            stem = free_stem(self.settings, stem)
        file = self._file(stem)
        self.report.stage("saving", detail=file.name)
        with self.resting():
            self.method.save(file, self.metadata.at(step, -(-step // self.plan.steps_per_epoch)))
        self.report.event(Checkpoint(file=str(file), step=step, final=final))
        if with_state:
            self._keep_state(file.with_name(state_name(stem)), step)
        self._go_on(step)

    def _refuse_broken_weights(self, step: int) -> None:
        """Raise Failure rather than write over sound files, and a sound state, with weights that are no numbers."""
        if self.accelerator.is_main_process and not all(
            weights.isfinite().all() for weights in self.method.state_dict().values()
        ):
            raise broken_down(step)

    def _drop(self, named: Callable[[int], str], past: Past) -> None:
        """Delete the run's own file and state that Save last N … leaves behind now."""
        if not self.accelerator.is_main_process:
            return
        if past.file:
            for file in self._files(named(past.file)):
                if not holds_other_things(file):
                    removed(file)
        if past.state:
            delete_state(self._file(named(past.state)).with_name(state_name(named(past.state))))

    def _file(self, stem: str) -> Path:
        return self._files(stem)[0]

    def _files(self, stem: str) -> list[Path]:
        return [Path(self.settings.folders.output_dir) / name for name in saved_names(self.settings, stem)]

    def _keep_state(self, folder: Path, step: int) -> None:
        if not self.accelerator.is_main_process:
            return
        self.report.flush()
        progress = Progress(step, self.plan.steps, self.metadata.seed, self.report.smoothed_loss)
        began = time.monotonic()
        save_state(folder, self.method.state_dict(), self.memory(), progress)
        if folder == self.run.state_folder:
            self._state_kept = time.monotonic()
            self._state_took = self._state_kept - began
            self.report.event(StateSaved(step=step))

    def _state_is_due(self) -> bool:
        """A whole model's state has gigabytes: keeping it shall not take more than a twentieth of the time."""
        return time.monotonic() - self._state_kept > max(STATE_EVERY, 20 * self._state_took)

    def _draw(self, step: int, epoch: int | None = None) -> None:
        if self.sampler and self.accelerator.is_main_process:
            with self.resting():
                self.sampler.draw(self.report, step, epoch)
            self._go_on(step)
        self.accelerator.wait_for_everyone()

    def _epoch(self, step: int) -> int | None:
        """The epoch that ends with a step, from 1."""
        return step // self.plan.steps_per_epoch if step % self.plan.steps_per_epoch == 0 else None

    def _measures(self, step: int) -> bool:
        """Whether the validation loss is due after `step` steps."""
        often = self.settings.validation
        return (
            due(self._epoch(step), often.validate_every_n_epochs)
            or due(step, often.validate_every_n_steps)
            or step == self.plan.steps
        )

    def _is_measured(self, step: int) -> bool:
        """Whether the run's events have the validation loss after `step` steps."""
        if not self.validation:
            return False
        is_first = self.accelerator.is_main_process
        return of_first_process(is_first and any(v.step == step for v in History(self.run).update().validated))

    def _validate(self, step: int) -> bool:
        """Returns True where the user asks to stop meanwhile, in all processes or none."""
        if not self.validation:
            return False
        is_stopped = self.validation.measure(self.report, step)
        self._go_on(step)
        return is_stopped

    def _go_on(self, step: int) -> None:
        self.report.pause()
        if step < self.plan.steps:
            self.report.stage("training", step, self.plan.steps)

    def _requests(self) -> set[str]:
        """What was asked for since the last step; all processes get the same answer."""
        return of_first_process(self._control.take() if self.accelerator.is_main_process else set())


@dataclass(frozen=True)
class Past:
    """Numbers of the epochs, or steps, whose file and whose state are no longer kept; 0 for none."""

    file: int
    state: int


def past_epochs(epoch: int, saving: Saving) -> Past:
    """After saving `epoch`: the one that falls out of the last N saved ones."""
    kept, kept_state = saving.save_last_n_epochs, saving.save_last_n_epochs_state or saving.save_last_n_epochs

    def out(count: int) -> int:
        return max(0, epoch - count * saving.save_every_n_epochs) if count else 0

    return Past(out(kept), out(kept_state))


def past_steps(step: int, saving: Saving) -> Past:
    """After saving `step`: the newest saved one that lies more than N steps back, as sd-scripts counts it."""
    kept, kept_state = saving.save_last_n_steps, saving.save_last_n_steps_state or saving.save_last_n_steps

    def out(count: int) -> int:
        last = step - count - 1
        return max(0, last - last % saving.save_every_n_steps) if count else 0

    return Past(out(kept), out(kept_state))


def due(count: int | None, every: int) -> bool:
    """Whether something that comes every `every` (0: never) comes after `count`."""
    return bool(count and every and count % every == 0)
