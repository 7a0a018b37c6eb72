"""The loss that page and terminal show is a mean that can be worked out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine.runs.events import EventWriter
from engine.training.report import Report


def shown(losses: list[float], tmp_path: Path, steps_per_epoch: int = 1, before: tuple[int, float] | None = None):
    file = tmp_path / "events.jsonl"
    file.unlink(missing_ok=True)
    writer = EventWriter(file)
    report = Report(writer)
    report.mean_over(steps_per_epoch)
    first = 1
    if before:
        first += before[0]
        report.resume(before[1])
    for step, loss in enumerate(losses, first):
        report.step(
            step, first + len(losses), epoch=1, pictures=1, loss=torch.tensor(loss), grad_norm=None,
            learning_rates={"unet": 1.0},
        )  # fmt: skip
    report.flush()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line["smoothed_loss"] for line in lines if line["kind"] == "step"]


@pytest.mark.parametrize(("steps", "steps_per_epoch"), [(1, 1), (2, 1), (10, 3), (50, 7), (200, 200), (200, 1000)])
def test_through_the_first_epoch_it_is_the_mean_of_all_steps(steps: int, steps_per_epoch: int, tmp_path: Path):
    """sd-scripts' avr_loss: the sum of the losses so far by their number. Short epochs count as 50 steps."""
    losses = [1 / n for n in range(1, steps + 1)]
    expected = [sum(losses[:n]) / n for n in range(1, steps + 1)]
    assert shown(losses, tmp_path, steps_per_epoch) == pytest.approx(expected)


def test_then_late_steps_weigh_more(tmp_path: Path):
    """With 50 steps: s ← s + (x − s)/50, by hand from 1 towards 0: (49/50)^n."""
    found = shown([1.0] * 50 + [0.0] * 30, tmp_path, steps_per_epoch=5)
    assert found[50:] == pytest.approx([0.98**n for n in range(1, 31)])


def test_a_step_without_a_number_changes_nothing(tmp_path: Path):
    assert shown([1.0, float("nan"), 3.0], tmp_path)[1] == 1.0


@pytest.mark.parametrize("behind", [1, 7, 49])
def test_a_run_that_goes_on_shows_what_it_would_have_shown(behind: int, tmp_path: Path):
    losses = [abs((n * 7919) % 13 - 6) / 10 for n in range(60)]
    whole = shown(losses, tmp_path)
    assert shown(losses[behind:], tmp_path, before=(behind, whole[behind - 1])) == whole[behind:]
