"""How long a file's metadata become, and how much memory that takes, by the number of captions.

python -m tests.reliability.long_metadata [CAPTIONS …] makes so many captions of 400 letters of which no two have a part
in common, saves a LoRA of a run on them, and prints what it took.  Each number is measured in a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from engine.data.buckets import Placed
from engine.data.items import Item, Subset
from engine.data.steps import StepPlan
from engine.models.header import read_header
from engine.networks.kohya_format import save_lora
from engine.settings.training import TrainingSettings
from engine.training.metadata import RunMetadata

PLACE = Placed((64, 64), (64, 64))


def captions(count: int) -> list[str]:
    return [f"{number} ".ljust(400, "x") for number in range(count)]


def resident() -> float:
    """Megabytes, at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(count: int) -> str:
    settings = TrainingSettings().for_method("lora").with_values({"output_name": "cat"})
    subset = Subset.of(settings)
    items = [Item(Path(f"/img/1_cat/{number}"), "cat", 1, subset=subset) for number in range(count)]
    texts, plan = captions(count), StepPlan(count, (1,), 1, 1, 1, count, count, "epoch")
    before, began = resident(), time.perf_counter()
    made = RunMetadata(
        settings=settings, family={}, plan=plan, items=items, captions=texts, places=[PLACE] * count, seed=1,
        precision="no", network={}, optimizer="AdamW",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cat.safetensors"
        save_lora({"a.lora_down.weight": torch.ones(4, 4)}, made.at(1, 1), file, torch.float16)
        took = time.perf_counter() - began
        said = read_header(file).metadata
        length = file.stat().st_size
    left_out = "; ".join(made.new_notes()) or "nothing is left out"
    return (
        f"{count:,} captions: {took:.1f} s, {resident() - before:.0f} MB beside the captions, a file of {length:,} "
        f"bytes with {len(said)} entries; {left_out}"
    )


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:]] or [20_000, 260_000, 1_000_000]
    if len(counts) == 1:
        print(measure(counts[0]))
    else:
        for one in counts:
            subprocess.run([sys.executable, "-m", "tests.reliability.long_metadata", str(one)], check=True)
