"""The run panel with a history of a million steps, and with twenty clients on two thousand runs.

python -m benchmarks.history [STEPS] [RUNS]    needs some 240 bytes of disk a step
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import psutil

from engine.begin import busy_problem
from engine.runs.events import Finished, Planned, Started, Step
from engine.runs.folder import RunFolder
from ui.runs_panel import RunsPanel

CLIENTS, ROUNDS = 20, 5


def step(number: int) -> Step:
    rates = {"unet": 1e-4, "text_encoder": 5e-5}
    loss = 1 / (1 + number / 1e4)
    return Step(
        step=number, epoch=1, loss=loss, smoothed_loss=loss, learning_rates=rates, grad_norm=0.3,
        images_per_second=1.25, memory=2**30, eta=60.0, waiting=0.01,
    )  # fmt: skip


def long_run(steps: int) -> RunFolder:
    run = RunFolder.create("train", "{}", "long")
    run.writer().write(Started(), Planned(total_steps=steps + 10, steps_per_epoch=1000, seed=1, device="CPU"))
    line = step(1).model_dump_json(exclude_none=True) + "\n"
    with run.events_file.open("a", encoding="utf-8") as stream:
        for number in range(1, steps + 1):
            stream.write(line.replace('"step":1,', f'"step":{number},', 1))
    return run


def ended_runs(count: int) -> list[RunFolder]:
    runs = []
    for _ in range(count):
        run = RunFolder.create("train", "{}", f"ended {len(runs)}")
        writer = run.writer()
        writer.write(Started(), Planned(total_steps=50, steps_per_epoch=50, seed=1, device="CPU"))
        writer.write(*map(step, range(1, 51)), Finished(how="done", step=50))
        writer.close()
        (run.path / "lock").touch()
        run.set_process(2**22 + len(runs), 0)
        runs.append(run)
    return runs


def drawn() -> RunsPanel:
    with gr.Blocks():
        panel = RunsPanel()
        panel.draw()
    return panel


def seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def until_shown(panel: RunsPanel, run: RunFolder, step: int) -> tuple[float, float]:
    """Seconds until the page shows a step, looking once after the other, and the longest of these looks."""
    looks: list[float] = []
    seen = ""
    while True:
        began = time.perf_counter()
        out = panel.tick(run.name, seen)
        looks.append(time.perf_counter() - began)
        seen = out[0] if isinstance(out[0], str) else seen
        if isinstance(out[1], str) and f">{step} / " in out[1]:
            return sum(looks), max(looks)
        time.sleep(0.01)


def history(steps: int) -> None:
    panel, run = drawn(), long_run(steps)
    before, used = psutil.Process().memory_info().rss, time.process_time()
    whole, longest = until_shown(panel, run, steps)
    memory = psutil.Process().memory_info().rss - before
    print(f"{steps:,} steps, {run.events_file.stat().st_size / 1e6:.0f} MB of events")
    print(
        f"until the newest is shown {whole:.2f} s, longest look {longest:.2f} s, memory more {memory / 2**20:.0f} MiB"
    )
    print(f"seconds of processors for it {time.process_time() - used:.2f}")
    new = []
    for number in range(steps + 1, steps + 6):
        run.writer().write(step(number))
        new.append(until_shown(panel, run, number)[0])
    print(f"a new step {statistics.median(new) * 1000:.1f} ms")


def clients(count: int) -> None:
    """Every client watches a run of its own, and looks through the list between."""
    panel, runs = drawn(), ended_runs(count)
    taken: list[float] = []

    def watch(run: RunFolder) -> None:
        seen = ""
        for _ in range(ROUNDS):
            began = time.perf_counter()
            out = panel.tick(run.name, seen)
            panel._relist(run.name)
            taken.append(time.perf_counter() - began)
            seen = out[0] if isinstance(out[0], str) else seen

    threads = [threading.Thread(target=watch, args=[run]) for run in runs[:CLIENTS]]
    used = time.process_time()
    whole = seconds(lambda: [[thread.start() for thread in threads], [thread.join() for thread in threads]])
    print(f"{count:,} runs, {CLIENTS} clients, {ROUNDS} looks at a run and the list each: {whole:.2f} s")
    print(f"seconds of processors for them {time.process_time() - used:.2f}")
    print(f"a look: median {statistics.median(taken):.3f} s, worst {max(taken):.3f} s")
    print(f"is any run going on: {seconds(busy_problem):.3f} s, again {seconds(busy_problem):.3f} s")


def main(steps: int = 1_000_000, runs: int = 2_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DARKROOM_RUNS"] = str(Path(folder) / "long")
        history(steps)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DARKROOM_RUNS"] = str(Path(folder) / "many")
        clients(runs)
    print(json.dumps({"cores": os.cpu_count()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
