"""Starts runs over and over on a busy machine, and watches whether one that lives is ever taken for dead.

    python -m tests.reliability.starts --starts 400 [--busy 4]

The engines do nothing but live for a moment, so that many can be started; --busy has so many processes compute beside.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from engine.runs import process
from engine.runs.folder import RunFolder, all_runs
from engine.settings.training import TrainingSettings

LIVES = "import time; time.sleep(0.3)"


@contextmanager
def busy(processes: int) -> Iterator[None]:
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in beside:
            each.kill()
            each.wait()


class Watcher(threading.Thread):
    """What a page does: looks at the newest run, again and again.  looks: how often it did.  died: runs taken for dead
    while their process lived.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.looks, self.died = 0, set[str]()
        self.living: str | None = None
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.is_set():
            run = next(all_runs(), None)
            if run is None:
                continue
            status = run.status_now()
            self.looks += 1
            if status == "died" and self.living == run.name:
                self.died.add(run.name)

    def end(self) -> None:
        self._ends.set()
        self.join()


def start_many(starts: int) -> Watcher:
    """DARKROOM_RUNS names the folder."""
    settings = TrainingSettings()
    process.command, usual = lambda run, _: [sys.executable, "-S", "-c", LIVES, *run.work_arguments()], process.command
    watcher = Watcher()
    watcher.start()
    try:
        for number in range(starts):
            run = RunFolder.create("train", settings.model_dump_json(), f"{number:04d}", to_start=True)
            watcher.living = run.name
            process.start(run, settings)
            time.sleep(0.05)
            watcher.living = None
    finally:
        process.command = usual
        watcher.end()
        time.sleep(0.5)
        process.reap()
    return watcher


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--starts", type=int, default=400)
    parser.add_argument("--busy", type=int, default=4)
    told = parser.parse_args()
    os.environ["DARKROOM_RUNS"] = tempfile.mkdtemp(prefix="starts-")
    with busy(told.busy):
        watcher = start_many(told.starts)
    print(f"{told.starts} starts, {watcher.looks} looks, {len(watcher.died)} runs taken for dead while they lived")
    return 1 if watcher.died else 0


if __name__ == "__main__":
    sys.exit(main())
