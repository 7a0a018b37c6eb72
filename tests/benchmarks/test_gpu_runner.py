"""Whatever becomes of a row of the GPU benchmark costs that row alone, and what is known is in files at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.gpu_runner import Budget, Result, Task, run_rows

ROOT = Path(__file__).parents[2]

WELL = "measure = lambda limit: speak({'seconds_per_step': 0.5})"
ENDINGS = {
    "well": WELL,
    "raises": "def measure(limit):\n    speak({'estimate': 7})\n    raise ValueError('of no use')",
    "aborts": "measure = lambda limit: os.abort()",
    "is killed": "measure = lambda limit: os.kill(os.getpid(), 9)",
    "hangs": "def measure(limit):\n    speak({'estimate': 8})\n    time.sleep(600)",
    "runs out of the GPU's memory": "def measure(limit):\n    raise torch.OutOfMemoryError('CUDA out of memory')",
    "runs out of main memory": "def measure(limit):\n    raise MemoryError",
    "cannot get ready": "raise ImportError('no such library')",
}
"""What the process of a row does in place of measuring."""


def task(name: str, folder: Path, limit: float = 60.0, needs: float = 0.0) -> Task:
    """The process is the benchmark's own, but for what it would measure."""
    needs_torch = "import torch\n" if "torch" in ENDINGS[name] else ""
    body = "\n    ".join(ENDINGS[name].splitlines())
    script = (
        f"{needs_torch}import os, sys, time\nfrom pathlib import Path\nimport benchmarks.gpu_work as w\n"
        f"def prepared(row, folder, device, tiny, speak):\n    {body}\n    return measure\n"
        f"w.prepared = prepared\n"
        f"sys.exit(w.work('bf16 matrix product', Path({str(folder / 'work')!r}), 'cpu', True, {limit}))"
    )
    return Task(name, [sys.executable, "-c", script], limit, needs)


def children() -> set[psutil.Process]:
    """Processes of this one, which the other tests may have some of."""
    return set(psutil.Process().children())


def read(folder: Path) -> dict[str, Result]:
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return {result.name: result for result in (Result(**json.loads(line)) for line in lines)}


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_row_that_comes_to_a_bad_end_is_told_and_the_others_go_on(tmp_path: Path):
    before = children()
    tasks = [task(name, tmp_path, limit=4.0 if name == "hangs" else 60.0) for name in ENDINGS]
    tasks.append(Task("afterwards", tasks[0].command, 60.0, 0.0))
    results = {result.name: result for result in run_rows(tasks, tmp_path, Budget(60, Clock()))}
    assert {name: result.status for name, result in results.items()} == {
        "well": "done", "raises": "failed", "aborts": "failed", "is killed": "failed", "hangs": "ended",
        "runs out of the GPU's memory": "out of memory", "runs out of main memory": "out of memory",
        "cannot get ready": "failed", "afterwards": "done",
    }  # fmt: skip
    assert results["well"].figures == results["afterwards"].figures == {"seconds_per_step": 0.5}
    assert results["raises"].figures == {"estimate": 7}  # what was known before stays
    assert results["hangs"].figures == {"estimate": 8}
    assert "of no use" in results["raises"].why
    assert "SIGABRT" in results["aborts"].why
    assert "SIGKILL" in results["is killed"].why
    assert "no such library" in results["cannot get ready"].why
    assert "4 s" in results["hangs"].why
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "==== hangs" in log
    assert "in measure" in log  # where it hung
    assert read(tmp_path) == results
    assert children() <= before


def test_rows_for_which_no_time_is_left_are_named_and_shorter_ones_run(tmp_path: Path):
    before = children()
    clock, seen = Clock(), []

    def told(results: list[Result]) -> None:
        seen.append(results[-1].name)
        clock.now += 200 if results[-1].status == "done" else 0

    names = {"first": 30.0, "second": 30.0, "long": 90.0, "short": 10.0, "last": 10.0}
    well = task("well", tmp_path).command
    tasks = [Task(name, well, 60.0, needs) for name, needs in names.items()]
    # 8 minutes are 480 s, of which 5 are spared: 475, 275, and 75 are left before each.
    results = run_rows(tasks, tmp_path, Budget(8, clock), told)
    assert [result.status for result in results] == ["done", "done", "not run", "done", "not run"]
    assert all(result.why == "no time was left" for result in results if result.status == "not run")
    assert seen == list(names)
    assert children() <= before


def test_no_row_outlasts_the_whole(tmp_path: Path):
    began = Clock()
    results = run_rows(
        [task("hangs", tmp_path, limit=500.0)], tmp_path, Budget(8 / 60, began)
    )  # 3 s, for it stands still
    assert results[0].status == "ended"
    assert "3 s" in results[0].why


def test_results_are_there_when_the_benchmark_is_killed_and_its_rows_end_too(tmp_path: Path):
    tasks = {name: (task(name, tmp_path).command, 500.0) for name in ("well", "hangs")}
    script = (
        "import sys\nfrom pathlib import Path\nfrom benchmarks.gpu_runner import *\n"
        f"tasks = [Task(name, command, limit, 0.0) for name, (command, limit) in {tasks!r}.items()]\n"
        f"run_rows(tasks, Path({str(tmp_path)!r}), Budget(60))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        rows = psutil.Process(parent.pid)
        # "hangs" sleeps once its first row is through and it was told to go.
        _until(lambda: (tmp_path / "rows.jsonl").exists() and "well" in read(tmp_path))
        of_rows = rows.children()
        assert len(of_rows) == 1
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert read(tmp_path)["well"].figures == {"seconds_per_step": 0.5}
    _until(lambda: not any(child.is_running() and child.status() != "zombie" for child in of_rows))


def _until(is_so: object, patience: float = 120.0) -> None:
    end = time.monotonic() + patience
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
