"""How much memory is available for a run, from the system, without torch."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

import psutil

QUERY = ("--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Room:
    """device: where a run will compute.  name: for people.  free, total: bytes."""

    device: Literal["cuda", "cpu"]
    name: str
    free: int
    total: int


def room(gpu: int = 0) -> Room:
    """Memory of the GPU with this number, or main memory if there is none."""
    lines = _ask_nvidia_smi().splitlines()
    if gpu < len(lines):
        name, *sizes = (part.strip() for part in lines[gpu].rsplit(",", 2))
        if len(sizes) == 2 and all(size.isdecimal() for size in sizes):
            free, total = (int(size) * 2**20 for size in sizes)
            return Room("cuda", name, free, total)
    memory = psutil.virtual_memory()
    return Room("cpu", "main memory", memory.available, memory.total)


def _ask_nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, *QUERY], capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
