"""What happens between two steps: files, states and samples when they are due, and requests from outside."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from engine.data.output_names import (
    AVERAGED,
    beside_endings,
    epoch_name,
    free_stem,
    holds_other_things,
    saved_names,
    state_name,
    stem_of,
    step_name,
    written_names,
)
from engine.data.steps import StepPlan
from engine.disk import removed, why_not
from engine.runs.events import Checkpoint, Sample, StateSaved
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.runs.saved_state import Progress, delete_state, saved_progress
from engine.settings.saving import Saving
from engine.settings.training import TrainingSettings
from engine.training.hardware import of_first_process
from engine.training.metadata import RunMetadata
from engine.training.method import Method
from engine.training.report import Report, broken_down
from engine.training.results import Results
from engine.training.samples import Sampler
from engine.training.state import save_state
from engine.training.validation import ValidationLoss

STATE_EVERY = 120.0
"""Seconds of training that a power cut may cost; more only if writing the state itself takes long."""


@dataclass(kw_only=True)
class Milestones:
    """Called after every step.  memory: returns the state of the optimizer and all beside it, to be saved."""

    settings: TrainingSettings
    run: RunFolder
    plan: StepPlan
    method: Method
    metadata: RunMetadata
    sampler: Sampler
    report: Report
    accelerator: Accelerator
    memory: Callable[[], dict[str, Any]]
    results: Results
    validation: ValidationLoss | None = None

    def __post_init__(self) -> None:
        self._control = self.run.control()
        self._state_kept = time.monotonic()
        self._state_took = 0.0
        # What an earlier engine of this run reported; a kill may have struck between starting a file and its event.
        self._told = History(self.run).update()
        self._own = {stem_of(name) for name in self._told.begun_files}

    def before_step(self, first: int) -> bool:
        """Do what is due before this engine's first step (1, or later for a resumed run); True if it should stop.

        A run that resumes from its own state does what was due after that state but never happened, because the run was
        stopped or killed first: files, the validation loss, samples.
        """
        behind, told, own = first - 1, self._told, saved_progress(self.run.state_folder)
        is_measured = of_first_process(behind in told.measured)
        if (behind == 0 or self._measures(behind)) and not is_measured and self._validate(behind):
            return True
        if of_first_process(own is not None and own.step == behind):  # a kill may have come before its event
            self._save_due(behind, but=[Path(c.file).name for c in told.checkpoints if c.step == behind])
            self._draw_due(behind, told.samples)
        elif behind == 0 and self.settings.samples.sample_at_first:
            self._draw(0, but=told.samples)
        return False

    def after(self, step: int) -> bool:
        """Do what is due after `step` steps (from 1); True if the run was asked to stop here."""
        self.results.after_step()
        wants = self._requests()
        # Before the state is saved: a run that resumes from it does not measure again.
        if self._measures(step) and self._validate(step):
            wants.add("stop")
        if step < self.plan.steps:
            self._keep(step, asked=bool(wants & {"save", "stop"}))
        if "stop" in wants:
            return step < self.plan.steps
        if not self._draw_due(step) and "sample" in wants:
            self._draw(step)
        return False

    def after_last_step(self) -> None:
        saving, name = self.settings.saving, self.settings.folders.output_name
        at_end = saving.save_state or saving.save_state_on_train_end
        self._refuse_broken_weights(self.plan.steps)
        self._save_due(self.plan.steps)
        self._save(name, self.plan.steps, with_state=at_end, final=True)
        if self.accelerator.is_main_process:
            with suppress(OSError):  # all is done: what is left is deleted when the next run begins
                delete_state(self.run.state_folder)

    def _keep(self, step: int, asked: bool) -> None:
        """The state first: a run that ends while writing the files resumes from here, and writes the missing ones."""
        numbered = list(self._numbered(step))
        if not (numbered or asked or self._state_is_due()):
            return
        self._refuse_broken_weights(step)
        self._keep_state(self.run.state_folder, step)
        self._save_due(step)
        stem = step_name(self.settings.folders.output_name, step)
        if asked and stem not in [named(number) for named, number, _ in numbered]:
            # Nobody could foresee this name before the start, so nobody was asked about overwriting it.
            self._save(free_stem(self.settings, stem), step, with_state=False)

    def _numbered(self, step: int) -> Iterator[tuple[Callable[[int], str], int, Past]]:
        """For the files due after `step` steps: what names them, by which number, and which older ones they replace.

        After the last step the file with its number equals the final one, and its epoch has none, as in sd-scripts.
        """
        name, saving, epoch = self.settings.folders.output_name, self.settings.saving, self._epoch(step)
        if due(step, saving.save_every_n_steps):
            yield partial(step_name, name), step, past_steps(step, saving)
        if epoch and due(epoch, saving.save_every_n_epochs) and step < self.plan.steps:
            yield partial(epoch_name, name), epoch, past_epochs(epoch, saving)

    def _save_due(self, step: int, but: Sequence[str] = ()) -> None:
        """but: names of files that were already written after this step, perhaps with -2 after their stem."""
        for named, number, past in self._numbered(step):
            if not any(name.startswith(named(number)) for name in but):
                self._save(named(number), step, with_state=self.settings.saving.save_state)
            self._drop(named, past)

    def _save(self, stem: str, step: int, with_state: bool, final: bool = False) -> None:
        """The state next to the file first, so that whatever has been reported is complete."""
        if not self.accelerator.is_main_process:
            return
        stem = self._free_to_write(stem, with_state)
        file = self._file(stem)
        self._own.add(stem)
        self.report.stage("saving", detail=file.name)
        if with_state:
            self._keep_state(file.with_name(state_name(stem)), step)
        metadata = self.metadata.at(step, -(-step // self.plan.steps_per_epoch))
        for note in self.metadata.new_notes():
            self.report.warn(note)
        files = {self._file(f"{stem}{suffix}"): in_place for suffix, in_place in self.results.saved.items()}
        of_average = self.metadata.of_average()
        for (each, in_place), suffix in zip(files.items(), self.results.saved, strict=True):
            is_average = suffix == AVERAGED or not self.settings.averaging.saves_both()
            with in_place():
                self.method.save(each, metadata | of_average if is_average else metadata)
        for each in files:  # only now: a run that was killed between two of them writes both again
            for ending in beside_endings(self.settings, each.suffix):
                beside = each.with_name(f"{each.stem}{ending}")
                self.report.event(Checkpoint(file=str(beside), step=step))
            self.report.event(Checkpoint(file=str(each), step=step, final=final and each == file))
        self._go_on(step)

    def _free_to_write(self, stem: str, with_state: bool) -> str:
        """The stem, or another one if something with its name has appeared since the checks before the start."""
        folder = Path(self.settings.folders.output_dir)
        paths = [folder / name for name in written_names(self.settings, stem, with_state)]
        others = [path for path in paths if path.exists() and not self._is_own(stem, path)]
        if not others:
            return stem
        free = free_stem(self.settings, stem, with_state)
        self.report.warn(
            f'"{others[0].name}" appeared in the output folder during this run, so the result is saved '
            f'as "{free}" instead.'
        )
        return free

    def _is_own(self, stem: str, path: Path) -> bool:
        """Whether the run may overwrite what is there."""
        return (stem in self._own or self.settings.folders.overwrite) and not holds_other_things(path)

    def _refuse_broken_weights(self, step: int) -> None:
        """Raise Failure rather than overwrite good files and a good state with NaN weights."""
        if self.accelerator.is_main_process and not all(
            weights.isfinite().all() for weights in self.method.state_dict().values()
        ):
            raise broken_down(step)

    def _drop(self, named: Callable[[int], str], past: Past) -> None:
        """Delete the run's own file and state that Save last N … no longer keeps, and nobody else's."""
        if not self.accelerator.is_main_process:
            return
        try:
            for stem in self._own_of(named(past.file)) if past.file else ():
                for file in self._files(stem):
                    if not holds_other_things(file):
                        removed(file)
            for stem in self._own_of(named(past.state)) if past.state else ():
                delete_state(self._file(stem).with_name(state_name(stem)))
        except OSError as error:  # Windows does not delete what another program has open
            self.report.warn(f"An older file could not be deleted: {why_not(error)} ({error.filename}).")

    def _own_of(self, stem: str) -> list[str]:
        """The stems under which the run saved files with this usual name: see _free_to_write()."""
        return [own for own in self._own if own == stem or re.fullmatch(rf"{re.escape(stem)}-\d+", own)]

    def _file(self, stem: str) -> Path:
        return self._files(stem)[0]

    def _files(self, stem: str) -> list[Path]:
        return [Path(self.settings.folders.output_dir) / name for name in saved_names(self.settings, stem)]

    def _keep_state(self, folder: Path, step: int) -> None:
        if not self.accelerator.is_main_process or (folder == self.run.state_folder and self.run.is_gone):
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
        """A whole model's state is gigabytes: saving it should not take more than a twentieth of the time."""
        return time.monotonic() - self._state_kept > max(STATE_EVERY, 20 * self._state_took)

    def _draw_due(self, step: int, but: Sequence[Sample] = ()) -> bool:
        """Whether samples are due after `step` steps; if so, those not drawn before are drawn."""
        samples, epoch = self.settings.samples, self._epoch(step)
        if epoch and due(epoch, samples.sample_every_n_epochs):
            self._draw(step, epoch, but)
        elif due(step, samples.sample_every_n_steps):
            self._draw(step, but=but)
        else:
            return False
        return True

    def _draw(self, step: int, epoch: int | None = None, but: Sequence[Sample] = ()) -> None:
        drawn = {sample.prompt_index for sample in but if sample.step == step}
        if self.sampler and self.accelerator.is_main_process:
            with self.results.shown():
                self.sampler.draw(self.report, step, epoch, drawn)
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

    def _validate(self, step: int) -> bool:
        """Returns True if the user asks to stop meanwhile, in all processes or none."""
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
        """Requests since the last step; all processes get the same answer."""
        return of_first_process(self._control.take() if self.accelerator.is_main_process else set())


@dataclass(frozen=True)
class Past:
    """Numbers of the epochs, or steps, whose file and state are no longer kept; 0 for none."""

    file: int
    state: int


def past_epochs(epoch: int, saving: Saving) -> Past:
    """After saving `epoch`: the one that drops out of the last N saved ones."""
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
    """Whether something due every `every` (0: never) is due after `count`."""
    return bool(count and every and count % every == 0)
