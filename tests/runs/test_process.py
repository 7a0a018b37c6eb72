"""How an engine is started."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from engine.runs.folder import RunFolder
from engine.runs.process import command, environment
from engine.settings.hardware import Hardware

MIB = 2**20


@pytest.mark.shows("gpu_ids", "num_cpu_threads_per_process")
def test_gpus_and_threads_are_told_before_any_library_wakes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTHERS", "stay")
    told = environment(Hardware(gpu_ids="1,3", num_cpu_threads_per_process=5))
    assert (told["CUDA_VISIBLE_DEVICES"], told["OMP_NUM_THREADS"], told["OTHERS"]) == ("1,3", "5", "stay")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in environment(Hardware())
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_small_block_that_is_freed_stays_with_the_engine_and_a_large_one_goes_back():
    """glibc's own bounds move as blocks are freed; those that are set stay."""
    told = environment(Hardware())
    mapped, trimmed = int(told["MALLOC_MMAP_THRESHOLD_"]), int(told["MALLOC_TRIM_THRESHOLD_"])
    assert mapped <= MIB  # else a large model takes a tenth to a fifth more
    assert trimmed >= 64 * MIB  # else the heap's end goes back to the system after every step, and is asked for again
    work = textwrap.dedent(
        """
        import resource, torch
        def faults(elements):
            for _ in range(3):
                torch.ones(elements)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(100):
                torch.ones(elements)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(faults(2**17), faults(2**20))
        """
    )
    done = subprocess.run([sys.executable, "-c", work], env=told, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert small < 12_800 / 4  # of half a MiB, 128 pages: given back, each of the 100 would cost 128 faults
    assert large > small  # of 4 MiB


def test_no_compiler_is_loaded_that_nothing_asks_for():
    work = "import sys, bitsandbytes; print('torch._inductor.compile_fx' in sys.modules)"
    told = environment(Hardware())
    assert (
        subprocess.run([sys.executable, "-c", work], env=told, stdout=subprocess.PIPE, text=True, check=True).stdout
        == "False\n"
    )


def test_one_process_starts_plainly_and_several_through_the_launcher():
    run = RunFolder.create("train", "{}", "cat")
    alone = command(run, Hardware())
    beside = command(run, Hardware(num_processes=3))
    assert alone[1:] == ["-m", "engine", "work", str(run.path)]
    assert beside[beside.index("--num_processes") + 1] == "3"
    assert beside[-4:] == alone[-4:]
