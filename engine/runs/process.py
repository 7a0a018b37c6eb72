"""Starts a run's engine as a process of its own, and ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from engine.runs.folder import RunFolder
from engine.settings.hardware import Hardware
from engine.settings.values import JobSettings

PROGRAM_FOLDER = Path(__file__).parents[2]

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
"""glibc by itself keeps freed blocks of up to 32 MiB, and the gaps between them: a fifth of a large model's memory.
Blocks from 1 MiB on are given back at once; smaller ones, of which small models are made, are kept, for to ask for each
again costs a page fault every 4 KiB. benchmarks/RESULTS.md has the figures. Other systems do not read these.
"""

_children: list[subprocess.Popen[bytes]] = []
"""Engines that this process started: kept so that they can be reaped when they end."""


def start(run: RunFolder, settings: JobSettings) -> int:
    """Start the engine on a run, new or to be resumed; returns its process id.

    The engine leads a process group of its own and writes to the run's log, so it outlives this
    process, a closed terminal, and the browser.  Raises OSError, and DiskFull where there is no room for its log.
    """
    hardware = settings.machine()
    run.set_starting()
    run.forget_process()
    events_before = run.events_size()
    try:
        with run.log_file.open("ab") as log:
            child = subprocess.Popen(
                command(run, hardware),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROGRAM_FOLDER,
                env=environment(hardware),
                **_own_group(),
            )
    except (OSError, ValueError):
        run.forget_start()
        raise
    _children.append(child)
    with suppress(OSError):  # the engine lives all the same, and holds the run
        run.set_process(child.pid, events_before)
    return child.pid


def environment(hardware: Hardware) -> dict[str, str]:
    """The engine's environment: this process's, with what the libraries read before any code of ours runs."""
    variables = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": str(hardware.num_cpu_threads_per_process),
        "TORCHDYNAMO_DISABLE": "1",  # nothing here is compiled, but bitsandbytes would load the compiler as it starts
        **ALLOCATOR,
        "PYTHONPATH": os.pathsep.join([str(PROGRAM_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    if hardware.gpu_ids:
        variables["CUDA_VISIBLE_DEVICES"] = hardware.gpu_ids
    return os.environ | variables


def command(run: RunFolder, hardware: Hardware) -> list[str]:
    """The engine's command line: plain for one process, through accelerate's launcher for several."""
    work = ["-m", "engine", *run.work_arguments()]
    processes = hardware.num_processes
    if processes == 1:
        return [sys.executable, *work]
    launcher = ["-m", "accelerate.commands.launch", "--num_processes", str(processes), "--num_machines", "1"]
    launcher.append("--multi_gpu")  # any start through torch's launcher; with --cpu it would start one process alone
    precision = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    threads = ["--num_cpu_threads_per_process", str(hardware.num_cpu_threads_per_process)]
    return [sys.executable, *launcher, *precision, *threads, *work]


def stop(run: RunFolder) -> None:
    """Ask the engine to save and end after the step it is at."""
    run.ask("stop")


def processes_of(run: RunFolder) -> list[psutil.Process]:
    """Every living process of the run: a launcher, its workers, and those that a dead launcher left behind."""
    found = {process.pid: process for process in psutil.process_iter() if run.belongs(process)}
    for process in list(found.values()):
        with suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    found.pop(os.getpid(), None)
    return list(found.values())


def kill(run: RunFolder, patience: float = 5.0) -> None:
    """End the engine and its workers now; what it saved last stays."""
    family = processes_of(run)
    for member in family:
        with suppress(psutil.Error):
            member.terminate()
    _, alive = psutil.wait_procs(family, timeout=patience)
    for member in alive:
        with suppress(psutil.Error):
            member.kill()
    reap()


def wait(run: RunFolder, timeout: float | None = None) -> bool:
    """Wait until no engine works on the run any more; False where the time (seconds) ran out first."""
    until = None if timeout is None else time.monotonic() + timeout
    while run.is_alive():
        if until is not None and time.monotonic() > until:
            return False
        reap()
        time.sleep(0.1)
    return True


def reap() -> None:
    """Collect children that have ended, so that they do not stay behind as zombies."""
    for child in _children[:]:
        if child.poll() is not None:
            _children.remove(child)


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
