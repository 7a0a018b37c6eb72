"""Windows moves what does not fit on the GPU to main memory without a word; the run says it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.runs.events import EventWriter, Warned
from engine.runs.folder import RunFolder
from engine.training import report as reports
from engine.training.report import Report, spills

GIB = 2**30


@pytest.mark.parametrize(
    ("reserved", "free", "platform", "moved"),
    [
        (7 * GIB, GIB // 2, "win32", False),
        (9 * GIB, GIB // 2, "win32", True),  # more than the GPU has
        (6 * GIB, 0, "win32", True),  # another program has the rest
        (7 * GIB, 0, "linux", False),  # refuses what does not fit
    ],
)
def test_when_memory_is_moved(reserved: int, free: int, platform: str, moved: bool):
    assert spills(reserved, free, 8 * GIB, platform) == moved


def test_it_is_said_once(runs: Path, monkeypatch: pytest.MonkeyPatch):
    run = RunFolder.create("train", "{}", "x")
    report = Report(EventWriter(run.events_file))
    report.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 9 * GIB)
    monkeypatch.setattr(reports, "memory_in_use", lambda _: 9 * GIB)
    monkeypatch.setattr(reports, "spills", lambda *sizes: spills(*sizes, platform="win32"))
    for step in (1, 2):
        report.step(step, 2, epoch=1, pictures=1, loss=torch.tensor(1.0), grad_norm=None, learning_rates={"unet": 1e-4})
        report.flush()
    warnings = [event.text for event in run.events().read() if isinstance(event, Warned)]
    assert len(warnings) == 1
    assert "8 GB are full" in warnings[0]
