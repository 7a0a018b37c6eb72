"""What settings of glibc's allocator cost a step on a CPU, and how much memory a run takes with them.

python -m benchmarks.allocator [--rounds 5] [--peaks CASE …]

Steps are the built-in model's UNet forth and back, in one process whose allocator is set anew (mallopt) before each
measurement, the settings taking turns in every round: processor time of the user and of the system by getrusage, which
other processes on the machine lengthen less than they do the clock's, and page faults. Peaks are those of whole runs of
benchmarks.memory, each a process of its own with the settings in its environment.
"""

from __future__ import annotations

import argparse
import ctypes
import resource
import statistics
import tempfile
from pathlib import Path

from benchmarks.memory import CASES, asked, prepare

KIB, MIB = 2**10, 2**20

DYNAMIC = (32 * MIB, 64 * MIB)
"""What glibc raises its bounds to as blocks of that size are freed, where nothing is set."""

SETTINGS: dict[str, tuple[int, int] | None] = {
    "256 KiB, 128 KiB": (256 * KIB, 128 * KIB),
    "glibc's own": None,
    "1 MiB, 64 MiB": (MIB, 64 * MIB),
    "1 MiB, 256 MiB": (MIB, 256 * MIB),
    "4 MiB, 128 KiB": (4 * MIB, 128 * KIB),
    "4 MiB, 256 MiB": (4 * MIB, 256 * MIB),
    "16 MiB, 256 MiB": (16 * MIB, 256 * MIB),
}
"""(bytes from which a block is mapped alone, and goes back when it is freed; bytes free at the heap's end from which
they go back).
"""

STEPS = {"64², batch 1": (1, 8, 6), "64², batch 8": (8, 8, 4), "256², batch 1": (1, 32, 3)}
"""(pictures, side of their latents, steps in a measurement)."""

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's numbers for mallopt; malloc.h."""


def steps(rounds: int) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    from engine.demo.demo import MODEL_FOLDER

    torch.set_num_threads(1)
    libc = ctypes.CDLL("libc.so.6")
    unet = UNet2DConditionModel.from_pretrained(MODEL_FOLDER / "unet", torch_dtype=torch.float32)

    def step(batch: int, side: int) -> None:
        noisy, told = torch.randn(batch, 4, side, side), torch.randn(batch, 77, 64)
        unet(noisy, torch.randint(0, 1000, (batch,)), told).sample.square().mean().backward()
        unet.zero_grad()

    def measured(batch: int, side: int, count: int) -> tuple[float, float, float]:
        step(batch, side)
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(count):
            step(batch, side)
        after = resource.getrusage(resource.RUSAGE_SELF)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        return user / count, system / count, (after.ru_minflt - before.ru_minflt) / count

    print("| step | setting | user | system | beside the first | page faults |\n|---|---|---|---|---|---|")
    for name, told in STEPS.items():
        found: dict[str, list[tuple[float, float, float]]] = {setting: [] for setting in SETTINGS}
        for _ in range(rounds):
            for setting, bounds in SETTINGS.items():
                mapped, trimmed = bounds or DYNAMIC
                libc.mallopt(MMAP_THRESHOLD, mapped)
                libc.mallopt(TRIM_THRESHOLD, trimmed)
                libc.malloc_trim(0)
                found[setting].append(measured(*told))
        first = next(iter(found.values()))
        for setting, runs in found.items():
            user, system, faults = (statistics.median(run[place] for run in runs) for place in range(3))
            ratio = statistics.median(sum(a[:2]) / sum(b[:2]) for a, b in zip(runs, first, strict=True))
            print(f"| {name} | {setting} | {user:.3f} s | {system:.3f} s | {ratio:.2f} | {faults:,.0f} |", flush=True)


def peaks(cases: list[str]) -> None:
    print("| run | setting | estimate | peak |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work)
        for case in cases:
            said = asked("estimate", case, work)["total"]
            for setting, bounds in SETTINGS.items():
                names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
                told = dict(zip(names, map(str, bounds or ("", "")), strict=True))
                took = asked("run", case, work, told)["total"]
                print(f"| {case} | {setting} | {said / 2**30:.2f} GiB | {took / 2**30:.2f} GiB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peaks", nargs="+", choices=CASES, metavar="CASE", help="measure these runs' peaks instead")
    given = parser.parse_args()
    if given.peaks:
        peaks(given.peaks)
    else:
        steps(given.rounds)


if __name__ == "__main__":
    main()
