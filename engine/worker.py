"""The engine process: works on one run, and reports how it ended whatever happens."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine.disk import DiskFull, is_for_want_of_room, remove_leftovers
from engine.failure import Failure, Stopped
from engine.garbage import kept_for_good
from engine.jobs import JOBS, Job
from engine.runs.events import EventWriter, Finished, Problem, Started
from engine.runs.folder import RunFolder, RunIsHeld
from engine.runs.saved_state import tidy_done_runs
from engine.settings.files import read_text

LIBRARIES = (
    "torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "bitsandbytes", "onnxruntime",
)  # fmt: skip


def work(run: RunFolder) -> int:
    """Do the run's job; returns the process's exit code, 0 if it did what it was asked."""
    first = int(os.environ.get("RANK", "0")) == 0
    if not first:
        return _work(run, None)
    try:
        with run.held():
            return _work(run, run.writer())
    except RunIsHeld as error:
        print(error, flush=True)
        return 1


def _work(run: RunFolder, writer: EventWriter | None) -> int:
    """writer: None in all processes of a run except the first."""
    try:
        with _beating(run) if writer else nullcontext():
            if writer:
                _begin(run, writer)
            how, step = _run_job(run, writer)
    except Stopped:
        how, step = "stopped", 0
    except BaseException as error:
        run.give_up_reserve()  # the disk may be full, and this has to be written
        with suppress(OSError):
            traceback.print_exc()
        if writer:
            writer.write(explain(error, JOBS[run.job], run), Finished(how="failed"))
        return 1
    if writer:
        run.give_up_reserve()
        writer.write(Finished(how=how, step=step))
    return 0


def _begin(run: RunFolder, writer: EventWriter) -> None:
    """Clean up after kills, and report that the engine is running."""
    for folder in (run.path, run.previews_folder):
        remove_leftovers(folder)
    run.keep_reserve()
    tidy_done_runs()
    writer.write(Started(versions=_versions()))


def _run_job(run: RunFolder, writer: EventWriter | None) -> tuple[Any, int]:
    _quieten_libraries()
    job = JOBS[run.job]
    settings = job.settings_class().model_validate_json(read_text(run.settings_file))
    with kept_for_good():
        make_report, function = job.load_report(), job.load()
    report = make_report(writer, settings, run)
    _hide_progress_bars()
    outcome = function(settings, run, report)
    report.flush()
    return outcome


def explain(error: BaseException, job: Job, run: RunFolder) -> Problem:
    """What went wrong and the next move, in words."""
    if isinstance(error, Failure):
        return Problem(what=error.what, mend=error.mend, option=error.option)
    if _is_out_of_memory(error):
        return Problem(
            what="Out of memory.",
            mend=f"{job.smaller}, and close other programs that use the GPU.",
            option=job.smaller_option,
        )
    if is_for_want_of_room(error):
        return _without_room(error, run)
    if isinstance(error, PermissionError):
        return Problem(
            what=f"This program is not allowed to open {error.filename}.",
            mend="Give it permission to read and write there, or choose another folder.",
        )
    return Problem(
        what=f"{type(error).__name__}: {error}",
        mend="This is a bug in the program, not your mistake; the log says where. Everything saved before that "
        "is intact.",
    )


def _without_room(error: BaseException, run: RunFolder) -> Problem:
    mend = "Free up some space there, then press Resume."
    if isinstance(error, DiskFull):
        is_own = run.path in Path(error.filename).parents
        return Problem(what=error.words, mend=mend, option="" if is_own else "output_dir")
    file = getattr(error, "filename", None)
    where = f'"{file}" cannot be written' if file else f'nothing more can be written to "{run.path}"'
    return Problem(what=f"The disk is full: {where}.", mend=mend)


def _is_out_of_memory(error: BaseException) -> bool:
    """torch has a separate error class for GPUs; on the CPU only the message says so."""
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextmanager
def _beating(run: RunFolder) -> Iterator[None]:
    """The run's heartbeat, each second while the block lasts."""
    over = threading.Event()

    def beat() -> None:
        while not over.is_set():
            try:
                run.beat()
            except OSError:
                if run.is_gone:
                    return  # nobody is watching
            over.wait(1.0)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _quieten_libraries() -> None:
    """Keep messages that mean nothing to users out of the log: missing torchvision, CPU kernels, casts."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in ("transformers", "diffusers", "bitsandbytes", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _hide_progress_bars() -> None:
    """Hide the libraries' bars for every file they read; downloads keep theirs.  Without importing them needlessly."""
    for name in ("transformers", "diffusers"):
        if name in sys.modules:
            importlib.import_module(f"{name}.utils.logging").disable_progress_bar()
