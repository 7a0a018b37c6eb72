"""What the process of one row does: get ready without the GPU, wait for its turn, measure, tell each figure at once.

It speaks to its parent in lines of JSON and ends when the parent does, whatever it is at.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import shutil
import signal
import statistics
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gpu_rows import CACHED, PICTURES, Row, named, settings_of

Tell = Callable[[dict[str, Any]], None]

MATRIX = {False: 8192, True: 64}
"""Sides of the matrices whose product shows the peak, by whether it is tiny."""

PRODUCTS = 20
"""Of which the median is taken."""

SECONDS = {False: 4.0, True: 0.0}
FEWEST, MOST = {False: 4, True: 1}, {False: 40, True: 1}


def work(name: str, folder: Path, device: str, tiny: bool, limit: float) -> int:
    """The process of a row; returns its exit code."""
    speak = _own_channel()
    row = named(name)
    try:
        measure = prepared(row, folder, device, tiny, speak)
    except Exception as error:
        speak(_told(error))
        return 1
    speak({"ready": True})
    if not sys.stdin.readline():
        return 1
    _end_with_the_parent()
    # What it hangs at is in the log.
    faulthandler.dump_traceback_later(max(1.0, limit - 2), file=sys.stderr)
    try:
        measure(limit)
    except Exception as error:
        speak(_told(error))
        return 1
    finally:
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(folder, ignore_errors=True)
    speak({"done": True})
    return 0


def prepared(row: Row, folder: Path, device: str, tiny: bool, tell: Tell) -> Callable[[float], None]:
    """All that needs no GPU, the estimate among it; what is returned measures, given its seconds."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("There is no CUDA device here")
    if device == "cpu":  # what fades in small models of noise to below the smallest ordinary number would take long
        torch.set_flush_denormal(True)
    _quieten()
    folder.mkdir(parents=True, exist_ok=True)
    if row.kind == "matrix":
        return lambda limit: _matrix(device, tiny, tell)
    if row.kind == "pocket":
        from benchmarks.gpu_pocket import pocket

        return lambda limit: pocket(folder, tiny, tell, limit - 3)
    from benchmarks.gpu_models import make_skeleton

    make_skeleton(row.family, folder / "model", tiny)
    settings = settings_of(row, folder, tiny)
    if row.kind == "bare":
        from benchmarks import gpu_bare

        return lambda limit: _bare(gpu_bare.bare_loop, row, settings, device, tiny, tell)
    from engine.training import train

    count = 6 if tiny else CACHED if row.kind == "caching" else PICTURES
    _draw_pictures(folder / "img" / "1_noise", count, settings.dataset.size())
    if row.kind == "train":
        _estimate(settings, device, tell)
    return lambda limit: _train(train.train, row, settings, folder, device, tiny, tell)


def _estimate(settings: Any, device: str, tell: Tell) -> None:
    """A fault of the estimate costs no measurement."""
    from engine.training.estimate import estimate

    try:
        found = estimate(settings, "cuda" if device == "cuda" else "cpu")
    except Exception as error:
        traceback.print_exc()
        tell({"estimate_failed": f"{type(error).__name__}: {error}"})
        return
    phases = {name: phase.total for name, phase in found.phases.items()}
    tell({"estimate": found.total, "estimate_program": found.program, "estimate_phases": phases})


def _train(
    train: Callable[..., Any], row: Row, settings: Any, folder: Path, device: str, tiny: bool, tell: Tell
) -> None:
    """The engine's own run, until the meter has seen enough."""
    from benchmarks.gpu_meter import WatchedReport
    from benchmarks.gpu_models import random_weights
    from engine.runs.folder import RunFolder

    run = RunFolder.create("train", settings.model_dump_json(), "x", folder / "runs")
    with _metered(device, tiny, tell, until="caching" if row.kind == "caching" else "") as meter:
        report = WatchedReport(run.writer(), meter)
        with random_weights(row.family, device):
            train(settings, run, report)
    report.flush()
    if row.kind == "train":
        tell({"loss": report.smoothed_loss, "batch": settings.optimizer.train_batch_size})


def _bare(loop: Callable[..., Any], row: Row, settings: Any, device: str, tiny: bool, tell: Tell) -> None:
    from benchmarks.gpu_models import random_weights
    from engine.models.families import family_of
    from engine.training.hardware import weight_dtype

    with _metered(device, tiny, tell) as meter, random_weights(row.family, device):
        family = family_of(settings)
        loop(family, family.load(settings, weight_dtype(settings.hardware.mixed_precision)), settings, device, meter)
    tell({"batch": settings.optimizer.train_batch_size})


class _metered:
    """A meter for the block, which it may leave by Stopped; its memory is told even where that ran out."""

    def __init__(self, device: str, tiny: bool, tell: Tell, until: str = "") -> None:
        from benchmarks.gpu_meter import Meter

        self._meter = Meter(device, tell, SECONDS[tiny], FEWEST[tiny], MOST[tiny], until)

    def __enter__(self) -> Any:
        return self._meter

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        from engine.failure import Stopped

        self._meter.end()
        self._meter.memory()
        return isinstance(error, Stopped)


def _matrix(device: str, tiny: bool, tell: Tell) -> None:
    """The rate at which this card multiplies matrices of bf16, against which steps are held; and how fast it copies."""
    import time

    import torch

    side = MATRIX[tiny]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    waiting = torch.cuda.synchronize if device == "cuda" else lambda: None

    def seconds(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(PRODUCTS):
            waiting()
            began = time.perf_counter()
            work()
            waiting()
            times.append(time.perf_counter() - began)
        return statistics.median(times[3:])

    tell({"side": side, "operations_per_second": 2 * side**3 / seconds(lambda: a @ b)})
    home = torch.empty(side, side, dtype=torch.bfloat16, pin_memory=device == "cuda")
    tell({"copied_per_second": home.nbytes / seconds(lambda: a.copy_(home, non_blocking=True))})


def _draw_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    """With structure at all scales, so that they take as long to decode as photos do."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:03d}.jpg", quality=92)
        words = " ".join(random.Random(number).choices(["red", "blue", "circle", "square", "on", "a"], k=12))
        (folder / f"{number:03d}.txt").write_text(words, encoding="utf-8")


def _quieten() -> None:
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    for name in ("transformers", "diffusers", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _told(error: Exception) -> dict[str, Any]:
    traceback.print_exc()
    is_memory = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    said = " ".join(str(error).split())[:300]
    return {"failed": "out of memory" if is_memory else "failed", "why": f"{type(error).__name__}: {said}"}


def _own_channel() -> Tell:
    """Lines to the parent; whatever else this process prints goes to the log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def speak(figures: dict[str, Any]) -> None:
        channel.write(json.dumps(figures) + "\n")
        channel.flush()

    return speak


def _end_with_the_parent() -> None:
    """The pipe from it closes when it ends, even by a kill: the GPU shall not be held for nobody."""

    def watch() -> None:
        sys.stdin.read()
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
