"""All that is measured on a GPU, within eight minutes: speed and memory of training full-size models.

python -m benchmarks.gpu [--minutes 8] [--only TEXT ...] [--out FOLDER] [--device cuda|cpu] [--tiny] [--list]

The most valuable rows come first; those for which no time is left are named. Results are in the folder after each row:
rows.jsonl (every figure), table.md (for RESULTS.md) and log.txt (what the rows printed). The folder is --out, else the
one that OUT names, else benchmarks/out. --device cpu --tiny does every row with small models, to try the program.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu_rows import ROWS, Row
from benchmarks.gpu_runner import Budget, Result, Task, run_rows
from benchmarks.gpu_table import table
from engine.disk import write_text_whole

ROOT = Path(__file__).parents[1]

AHEAD = {"cuda": 3, "cpu": 1}
"""Processes that get ready while one measures."""

THREADS = 2
"""Of each process, as the product's default is."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="rows whose name holds one of these")
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models, to try the program")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=60.0, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.row:
        from benchmarks.gpu_work import work

        return work(given.row, given.work, given.device, given.tiny, given.limit)
    rows = [row for row in ROWS if not given.only or any(text in row.name for text in given.only)]
    if given.list:
        print("\n".join(row.name for row in rows))
        return 0
    return measure(rows, given)


def measure(rows: Sequence[Row], given: argparse.Namespace) -> int:
    """Returns 1 where a row that was begun has not all its figures."""
    budget = Budget(given.minutes)
    folder = given.out or Path(os.environ.get("OUT") or ROOT / "benchmarks" / "out")
    machine = machine_facts(given.device)

    def told(results: list[Result]) -> None:
        text = table(machine, rows, results, is_over=len(results) == len(rows))
        write_text_whole(folder / "table.md", text)
        last = results[-1]
        print(f"{last.name}: {last.status} {last.why}, {last.seconds:.0f} s, {budget.left():.0f} s left", flush=True)

    with tempfile.TemporaryDirectory() as work:
        tasks = [task_of(row, Path(work) / str(number), given) for number, row in enumerate(rows)]
        os.environ.update(variables(given.device, Path(work)))
        results = run_rows(tasks, folder, budget, told, AHEAD[given.device])
    print(f"\n{(folder / 'table.md').read_text(encoding='utf-8')}\nIn {folder}", flush=True)
    return int(any(result.status not in ("done", "not run") for result in results))


def task_of(row: Row, work: Path, given: argparse.Namespace) -> Task:
    command = [sys.executable, "-m", "benchmarks.gpu", "--row", row.name, "--work", str(work)]
    command += ["--device", given.device, "--limit", str(row.limit), *(["--tiny"] if given.tiny else [])]
    return Task(row.name, command, row.limit, row.needs)


def variables(device: str, work: Path) -> dict[str, str]:
    """As the product starts its engine, with runs of its own."""
    from engine.runs import process
    from engine.settings.hardware import Hardware

    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {
        **process.environment(Hardware(num_cpu_threads_per_process=THREADS)), "DARKROOM_RUNS": str(work / "runs"),
        "HF_HUB_OFFLINE": "1", **hidden,
    }  # fmt: skip


def machine_facts(device: str) -> dict[str, Any]:
    """The card and its driver, and the versions of what computes."""
    facts: dict[str, Any] = {}
    if device == "cuda" and shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        try:
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False).stdout
            name, memory, driver = (part.strip() for part in said.splitlines()[0].split(","))
            facts |= {name: memory, "driver": driver}
        except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
            facts["a card"] = "that nvidia-smi does not name"
    else:
        facts["the"] = "CPU" if device == "cpu" else "a GPU without nvidia-smi"
    for library in ("torch", "diffusers", "transformers", "peft", "bitsandbytes"):
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            continue
    return {**facts, "Python": platform.python_version(), "": time.strftime("%Y-%m-%d")}


if __name__ == "__main__":
    sys.exit(main())
