"""How an engine is started."""

from __future__ import annotations

import os

import pytest

from engine.runs.folder import RunFolder
from engine.runs.process import command, environment
from engine.settings.hardware import Hardware


@pytest.mark.shows("gpu_ids", "num_cpu_threads_per_process")
def test_gpus_and_threads_are_told_before_any_library_wakes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTHERS", "stay")
    told = environment(Hardware(gpu_ids="1,3", num_cpu_threads_per_process=5))
    assert (told["CUDA_VISIBLE_DEVICES"], told["OMP_NUM_THREADS"], told["OTHERS"]) == ("1,3", "5", "stay")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in environment(Hardware())
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_one_process_starts_plainly_and_several_through_the_launcher():
    run = RunFolder.create("train", "{}", "cat")
    alone = command(run, Hardware())
    beside = command(run, Hardware(num_processes=3))
    assert alone[1:] == ["-m", "engine", "work", str(run.path)]
    assert beside[beside.index("--num_processes") + 1] == "3"
    assert beside[-4:] == alone[-4:]
