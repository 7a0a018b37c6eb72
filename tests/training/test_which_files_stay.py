"""Which numbered files a run leaves behind: those that sd-scripts leaves, of steps and epochs beside each other."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.data.output_names import OutputFiles
from engine.data.steps import StepPlan
from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.milestones import Milestones
from engine.training.report import Report
from engine.training.results import Results

CASES: list[dict[str, Any]] = [
    {"save_every_n_steps": 4, "save_every_n_epochs": 1},
    {"save_every_n_steps": 4, "save_every_n_epochs": 1, "save_last_n_steps": 8},
    {"save_every_n_steps": 4, "save_every_n_epochs": 1, "save_last_n_epochs": 2},
    {"save_every_n_steps": 3, "save_every_n_epochs": 2, "save_last_n_steps": 5, "save_last_n_epochs": 1},
    {"save_every_n_steps": 5, "save_every_n_epochs": 1, "save_last_n_steps": 1, "save_last_n_epochs": 1},
    {"save_every_n_steps": 0, "save_every_n_epochs": 1, "save_last_n_steps": 4},
    {"save_every_n_steps": 7, "save_every_n_epochs": 0, "save_last_n_steps": 10, "save_last_n_epochs": 3},
    {"save_every_n_steps": 4, "save_every_n_epochs": 1, "save_last_n_steps": 9, "save_last_n_steps_state": 4,
     "save_last_n_epochs": 3, "save_last_n_epochs_state": 1},
]  # fmt: skip


def by_sd_scripts(total: int, per_epoch: int, asked: dict[str, Any], state: bool) -> set[str]:
    """The rules of its loop (train_network.py) and of get_remove_step_no() and get_remove_epoch_no(), in sets.

    Steps are saved whenever they are due, the last one too; epochs while there is another one to come.
    """
    every, epochs = asked["save_every_n_steps"], asked["save_every_n_epochs"]
    of = "_state" if state else ""
    last_steps = asked.get(f"save_last_n_steps{of}") or asked.get("save_last_n_steps", 0)
    last_epochs = asked.get(f"save_last_n_epochs{of}") or asked.get("save_last_n_epochs", 0)
    left = {"cat"}
    for step in range(1, total + 1):
        if every and step % every == 0:
            left.add(f"cat-step{step:08d}")
            gone = step - last_steps - 1
            if last_steps and gone >= 0:
                left.discard(f"cat-step{gone - gone % every:08d}")
        epoch, within = divmod(step, per_epoch)
        if epochs and within == 0 and epoch % epochs == 0 and step < total:
            left.add(f"cat-{epoch:06d}")
            if last_epochs:
                left.discard(f"cat-{epoch - epochs * last_epochs:06d}")
    return left


@pytest.mark.parametrize("asked", CASES)
@pytest.mark.parametrize(("total", "per_epoch"), [(20, 4), (18, 5), (7, 7)])
def test_those_that_sd_scripts_leaves_are_left(tmp_path: Path, asked: dict[str, Any], total: int, per_epoch: int):
    settings = TrainingSettings().with_values(
        {**asked, "save_state": True, "output_name": "cat", "output_dir": str(tmp_path / "out"), "validation_split": 0}
    )
    (tmp_path / "out").mkdir()
    plan = StepPlan(per_epoch, (1,), 1, -(-total // per_epoch), 1, per_epoch, total, "max_train_steps")
    most = 0

    def save(file: Path, metadata: dict[str, str]) -> None:
        nonlocal most
        file.write_text(metadata["steps"])
        most = max(most, len(list(file.parent.glob("*.safetensors"))))

    method: Any = SimpleNamespace(save=save, state_dict=lambda: {"w": torch.ones(1)})
    metadata: Any = SimpleNamespace(
        at=lambda step, epoch: {"steps": str(step)}, seed=1, new_notes=list, of_average=dict
    )
    accelerator: Any = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None)
    sampler: Any = None
    run = RunFolder.create("train", settings.model_dump_json(), "cat")
    milestones = Milestones(
        settings=settings, run=run, plan=plan, method=method, metadata=metadata, sampler=sampler,
        report=Report(run.writer()), accelerator=accelerator, memory=dict,
        results=Results(nullcontext, {"": nullcontext}),
    )  # fmt: skip
    for step in range(1, total + 1):
        assert not milestones.after(step)
    milestones.after_last_step()

    files = {file.stem for file in (tmp_path / "out").glob("*.safetensors")}
    states = {folder.name.removesuffix("-state") for folder in (tmp_path / "out").glob("*-state")}
    assert files == by_sd_scripts(total, per_epoch, asked, state=False)
    assert states == by_sd_scripts(total, per_epoch, asked, state=True)
    last = tmp_path / "out" / f"cat-step{total:08d}.safetensors"
    assert last.exists() == bool(asked["save_every_n_steps"] and total % asked["save_every_n_steps"] == 0)
    assert not last.exists() or last.read_text() == (tmp_path / "out" / "cat.safetensors").read_text()
    # What is asked about overwriting, and room for, is what is written.
    expected = OutputFiles(settings, plan)
    assert {path.name for path in expected.existing()} == {path.name for path in (tmp_path / "out").iterdir()}
    assert most <= expected.at_once()
