"""Starting and resuming a run: the checks first, then the process."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from engine.check.check import Resumed, check
from engine.check.problem import Checked, Problem
from engine.check.utility import check_utility
from engine.data.output_names import place_of, stem_of, written_names
from engine.disk import DiskFull, why_not
from engine.jobs import JOBS
from engine.runs import process
from engine.runs.folder import RunFolder, runs_root
from engine.runs.history import History
from engine.runs.listing import living
from engine.runs.saved_state import saved_progress
from engine.settings.errors import SettingsFileError
from engine.settings.files import read_settings, read_text
from engine.settings.paths import with_whole_paths
from engine.settings.training import TrainingSettings
from engine.settings.values import JobSettings

LATE = 10.0
"""Seconds after a run's last sign of life in which a file may still be its own: clocks of shared folders may differ."""


class CannotResume(RuntimeError):
    """Why a run cannot be resumed: a sentence for people."""


def begin(settings: TrainingSettings) -> tuple[Checked, RunFolder | None]:
    """Check, and start a new run if nothing prevents it; None otherwise."""
    settings = with_whole_paths(settings)
    checked = check(settings)
    if checked.can_start and (rival := _rival(settings)):
        checked = Checked([*checked.problems, rival], checked.plan)
    if not checked.can_start or checked.plan is None:
        return checked, None
    return _started("train", settings, checked)


def begin_utility(job: str, settings: JobSettings) -> tuple[Checked, RunFolder | None]:
    """The same for a utility, by its job name."""
    settings = with_whole_paths(settings)
    checked = check_utility(settings)
    return _started(job, settings, checked) if checked.can_start else (checked, None)


def _started(job: str, settings: JobSettings, checked: Checked) -> tuple[Checked, RunFolder | None]:
    """Without secrets: the page shows a run's folder to everyone who can open it."""
    settings, _ = settings.parted_from_secrets()
    run = None
    try:
        run = RunFolder.create(job, settings.model_dump_json(indent=2), settings.title() or job, to_start=True)
        process.start(run, settings)
    except OSError as error:
        if run:
            shutil.rmtree(run.path, ignore_errors=True)
        return Checked([*checked.problems, _cannot_be_written(error)], checked.plan), None
    return checked, run


def _cannot_be_written(error: OSError) -> Problem:
    if isinstance(error, DiskFull):
        return Problem("", error.words, f"Free up some space on the disk with {runs_root()}.")
    return Problem(
        "", f"The run cannot be started: {why_not(error)}.", f"Allow this program to write to {runs_root()}."
    )


def going_on() -> RunFolder | None:
    """A run with a live engine, or None."""
    return next(living(), None)


def resume(run: RunFolder) -> None:
    """Start an engine on an unfinished run.  Raises CannotResume."""
    settings = resumable_settings(run)
    try:
        process.start(run, settings)
    except OSError as error:
        raise CannotResume(_cannot_be_written(error).sentences) from error


def resumable_settings(run: RunFolder) -> JobSettings:
    """The settings that the run would resume with.  Raises CannotResume if it must not."""
    if run.is_alive():
        raise CannotResume(f"The run {run.title} is already running.")
    settings = settings_of(run)
    history = History(run).update()
    if history.status == "done":
        raise CannotResume(f"The run {run.title} is finished. To train further, start a new run from its settings.")
    if isinstance(settings, TrainingSettings):
        problems = _problems_of_training(run, settings, history)
    else:
        problems = check_utility(settings).problems
    if blocking := [problem for problem in problems if problem.blocking]:
        raise CannotResume(" ".join(problem.sentences for problem in blocking))
    return settings


def settings_of(run: RunFolder) -> JobSettings:
    """A run's settings.  Raises CannotResume if this version cannot read them."""
    try:
        return JOBS[run.job].settings_class().model_validate_json(read_text(run.settings_file))
    except KeyError:
        raise CannotResume(f"The run {run.title} is a kind of job that this version does not have.") from None
    except SettingsFileError as error:
        raise CannotResume(f"The settings of {run.title} cannot be read: {error}") from None
    except ValidationError:  # read leniently, it would go on with other settings than it began with
        raise CannotResume(
            f"The settings of {run.title} come from another version. To train further, start a new run from them."
        ) from None


def _problems_of_training(run: RunFolder, settings: TrainingSettings, history: History) -> list[Problem]:
    """A run that ended before it had a state starts over, on its own files."""
    run_has_state = saved_progress(run.state_folder) is not None
    if history.state_step is not None and not run_has_state:
        raise CannotResume(
            f"The training state of {run.title} is missing, so it would start over at step 0. Start a new run instead."
        )
    checked = check(settings, Resumed(_written_by(history, settings), has_state=run_has_state))
    rival = _rival(settings, but=run)
    return [*checked.problems, *filter(None, [rival])]


def _written_by(history: History, settings: TrainingSettings) -> set[Path]:
    """The files and states in the output folder that are the run's own and have not been replaced by others."""
    folder, ended = Path(settings.folders.output_dir), history.run.last_sign() + LATE
    files = {Path(checkpoint.file) for checkpoint in history.checkpoints} | {
        folder / name for name in history.begun_files
    }
    stems = {stem_of(file.name) for file in files}
    files |= {folder / name for stem in stems for name in written_names(settings, stem, with_state=True)}
    return {file for file in files if not file.exists() or file.stat().st_mtime <= ended}


def _rival(settings: TrainingSettings, but: RunFolder | None = None) -> Problem | None:
    """An active run that will write the same files; if two start at once, the engine refuses one."""
    for run in living():
        if run == but or run.job != "train":
            continue
        with suppress(SettingsFileError):
            folders = read_settings(run.settings_file).settings.folders
            if place_of(folders) == place_of(settings.folders):
                return Problem(
                    "output_name",
                    f"The run {run.title}, which is still running, writes files with this name.",
                    "Choose another name, or wait until it has finished.",
                )
    return None


def resume_step(run: RunFolder) -> int:
    """The step that a run would resume from; 0 is the beginning."""
    progress = saved_progress(run.state_folder)
    return progress.step if progress else 0


def busy_problem() -> Problem | None:
    """Why no run can be started now."""
    busy = going_on()
    if busy is None:
        return None
    return Problem("", f"The run {busy.title} is still running.", "Stop it, or wait until it has finished.")
