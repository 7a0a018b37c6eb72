"""How much memory there is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest

from engine.free_memory import room


def nvidia_smi(folder: Path, prints: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{prints}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])


def test_of_the_gpu_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = "NVIDIA RTX A2000, 8GB, 7000, 8192\\nNVIDIA GeForce RTX 3090, 23000, 24576\\n"
    nvidia_smi(tmp_path, lines, monkeypatch)
    first, second = room(), room(1)
    assert (first.device, first.name, first.free, first.total) == ("cuda", "NVIDIA RTX A2000, 8GB", 7000 << 20, 8 << 30)
    assert second.name == "NVIDIA GeForce RTX 3090"


@pytest.mark.parametrize("prints", ["", "No devices were found\\n", "NVIDIA GB10, [N/A], [N/A]\\n"])
def test_of_main_memory_where_no_gpu_says_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str):
    nvidia_smi(tmp_path, prints, monkeypatch)
    found = room()
    assert (found.device, found.total) == ("cpu", psutil.virtual_memory().total)
