"""What settings of the C library's allocator cost a run on a CPU: processor time and page faults a step, peak memory.

python -m benchmarks.allocator [--rounds 3] [--only WORK …] [--settings SETTING …]

Each run is a process of its own; the settings take turns in every round. Times are those of getrusage, the user's and
the system's together, which other processes on the machine lengthen less than they do the clock's.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory import BASE, WHOLE
from benchmarks.training import make_model, make_pictures
from engine.runs import process
from engine.settings.hardware import Hardware

ROOT = Path(__file__).parents[1]
MIB = 2**20

SETTINGS: dict[str, dict[str, str]] = {
    "threshold 256 KiB": {"MALLOC_MMAP_THRESHOLD_": str(MIB // 4)},
    "none": {},
    "threshold 4 MiB": {"MALLOC_MMAP_THRESHOLD_": str(4 * MIB)},
    "threshold 4 MiB, trim 256 MiB": {
        "MALLOC_MMAP_THRESHOLD_": str(4 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
    },
    "threshold 8 MiB, trim 256 MiB": {
        "MALLOC_MMAP_THRESHOLD_": str(8 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
    },
    "threshold 16 MiB, trim 256 MiB": {
        "MALLOC_MMAP_THRESHOLD_": str(16 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
    },
    "threshold 32 MiB, trim 256 MiB": {
        "MALLOC_MMAP_THRESHOLD_": str(32 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
    },
    "one arena": {"MALLOC_ARENA_MAX": "1"},
    "huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "threshold 256 KiB, huge pages": {
        "MALLOC_MMAP_THRESHOLD_": str(MIB // 4), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
    "torch's huge pages": {"MALLOC_MMAP_THRESHOLD_": str(4 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
                           "THP_MEM_ALLOC_ENABLE": "1"},
}  # fmt: skip
"""What is tried in place of what the engine's process has."""

WORK: dict[str, tuple[str, str, dict[str, Any]]] = {
    "small, 64²": ("pocket", "lora", {"max_resolution": "64,64", "max_train_steps": 60}),
    "small, 64², batch 8": ("pocket", "lora", {"max_resolution": "64,64", "train_batch_size": 8, "max_train_steps": 25}),
    "small, 256², batch 4": ("pocket", "lora", {"train_batch_size": 4, "max_train_steps": 12}),
    "small, whole": ("pocket", "dreambooth", {"max_resolution": "64,64", "max_train_steps": 40}),
    "SD 1.5": ("sd15", "lora", {}),
    "SD 1.5, batch 4": ("sd15", "lora", {"train_batch_size": 4}),
    "SD 1.5, whole": ("sd15", "dreambooth", WHOLE),
}
"""Which model, method and options; those of 256² if nothing else is said."""

WITHOUT = 2
"""First steps that are not counted: kernels are chosen and memory is taken in them."""


def settings_of(name: str, work: Path) -> Any:
    from engine.settings.training import TrainingSettings

    size, method, changes = WORK[name]
    values = {**BASE, "pretrained_model_name_or_path": str(work / size), "train_data_dir": str(work / "img"),
              "output_dir": str(work / "out"), "output_name": "x", "overwrite": True, "max_train_steps": 3,
              "num_cpu_threads_per_process": 1, **changes}  # fmt: skip
    return TrainingSettings().for_method(method).with_values(values)  # type: ignore[arg-type]


def run_here(name: str, work: Path) -> dict[str, float]:
    from engine.runs.folder import RunFolder
    from engine.training.report import Report
    from engine.training.train import train

    marks: list[tuple[float, int]] = []

    class Counting(Report):
        def step(self, *told: Any, **more: Any) -> None:
            super().step(*told, **more)
            used = resource.getrusage(resource.RUSAGE_SELF)
            marks.append((used.ru_utime + used.ru_stime, used.ru_minflt))

    settings = settings_of(name, work)
    train(settings, RunFolder.create("train", settings.model_dump_json(), "x"), Counting(None))
    (began, faults_before), (ended, faults) = marks[WITHOUT - 1], marks[-1]
    steps = len(marks) - WITHOUT
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": (ended - began) / steps,
        "faults": (faults - faults_before) / steps,
        "whole": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
    }


def measured(name: str, setting: str, work: Path) -> dict[str, float]:
    environment = process.environment(Hardware(num_cpu_threads_per_process=1))
    for variable in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        environment.pop(variable, None)
    environment |= {"DARKROOM_RUNS": str(work / "runs"), **SETTINGS[setting]}
    command = [sys.executable, "-m", "benchmarks.allocator", "--do", name, "--work", str(work)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--do", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.do:
        print(json.dumps(run_here(given.do, given.work)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        for size in {WORK[name][0] for name in given.only}:
            if not (work / size).exists():
                make_model(work / size, size)
        if not (work / "img").exists():
            make_pictures(work / "img" / "1_shapes", 256)
        print("| run | setting | processor time a step | beside the first | faults a step | peak |\n|---|---|---|---|---|---|")
        for name in given.only:
            found: dict[str, list[dict[str, float]]] = {setting: [] for setting in given.settings}
            for _ in range(given.rounds):
                for setting in given.settings:
                    found[setting].append(measured(name, setting, work))
            _tell(name, found)


def _tell(name: str, found: dict[str, list[dict[str, float]]]) -> None:
    """The median of the rounds; ratios are those within a round."""
    first = next(iter(found.values()))
    for setting, rounds in found.items():
        middle = {what: statistics.median(one[what] for one in rounds) for what in rounds[0]}
        ratio = statistics.median(one["seconds"] / other["seconds"] for one, other in zip(rounds, first, strict=True))
        print(f"| {name} | {setting} | {middle['seconds']:.3f} s | {ratio:.2f} | {middle['faults']:,.0f} "
              f"| {middle['peak'] / 2**30:.2f} GiB |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
