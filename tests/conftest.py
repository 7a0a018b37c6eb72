"""What the tests share: runs kept apart from the user's, drawn pictures, settings for a short run."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it: no test asks the hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several engines at work on few cores wait for each other

from engine.demo.demo import MODEL_FOLDER
from engine.runs import process
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.settings.training import Method, TrainingSettings
from tests.here import work_here
from tests.pictures import draw_pictures

# The same examples each time: a search that may find something new belongs where somebody looks at what it finds
# (--hypothesis-profile=explore), not in the check of a change that has nothing to do with it.
STEADY = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("steady", derandomize=True, max_examples=25, **STEADY)
hypothesis.settings.register_profile("explore", max_examples=1000, print_blob=True, **STEADY)
hypothesis.settings.load_profile("steady")

SLOW = ("demo", "browser", "benchmarks", "reliability", "training")
"""Folders whose files take the longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several workers none shall end with a long file alone, so those begin; tests/run.sh keeps the order."""
    folder = {item: item.path.relative_to(Path(__file__).parent).parts[0] for item in items}
    items.sort(key=lambda item: SLOW.index(folder[item]) if folder[item] in SLOW else len(SLOW))


gc.disable()


def pytest_collection_finish() -> None:
    """What the tests import is not looked through again and again while they run: see engine/garbage.py."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds this test's runs, and no others."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("DARKROOM_RUNS", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> TrainingSettings:
    """Five pictures, seen twice, and the built-in model: ten steps of one picture on a CPU."""
    draw_pictures(tmp_path / "img" / "2_shapes", 5)
    return TrainingSettings().with_values(
        {
            "pretrained_model_name_or_path": str(MODEL_FOLDER),
            "train_data_dir": str(tmp_path / "img"),
            "output_dir": str(tmp_path / "out"),
            "output_name": "shapes",
            "max_resolution": "64,64",
            "network_dim": 4,
            "network_alpha": 4,
            "learning_rate": 1e-3,
            "unet_lr": 1e-3,
            "text_encoder_lr": 1e-3,
            "optimizer": "AdamW",
            "mixed_precision": "no",
            "num_cpu_threads_per_process": 1,
            "seed": 7,
        }
    )


StartRun = Callable[..., RunFolder]


def create_run(
    settings: TrainingSettings, method: Method, changes: dict[str, Any]
) -> tuple[RunFolder, TrainingSettings]:
    changed = settings.with_values(changes).model_copy(update={"method": method})
    return RunFolder.create("train", changed.model_dump_json(), changed.folders.output_name), changed


@pytest.fixture
def trained(settings: TrainingSettings) -> Callable[..., History]:
    """Do a run on the settings with some changed, here and to its end, by the engine's own function; its story.

    For what is not about processes: to start one costs as much as fifty steps.
    """

    def trained(method: Method = "lora", **changes: Any) -> History:
        run, _ = create_run(settings, method, changes)
        work_here(run)
        return History(run).update()

    return trained


@pytest.fixture
def start_run(settings: TrainingSettings) -> Any:
    """Start an engine on the settings with some changed; it ends with the test at the latest."""
    started: list[RunFolder] = []

    def start(method: Method = "lora", **changes: Any) -> RunFolder:
        run, changed = create_run(settings, method, changes)
        process.start(run, changed)
        started.append(run)
        return run

    yield start
    for run in started:
        process.kill(run)
