"""How many steps a run has, and the arithmetic in words."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from engine.data.buckets import Placed, Size
from engine.data.items import Item
from engine.settings.optimizer import Optimizer
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class StepPlan:
    """pictures: pictures × repeats of an epoch.  batch: pictures per step and process.

    accumulation: batches per step.  epochs: asked for.  processes: training side by side.
    batches: of an epoch, where they are known: buckets leave some of them short.
    steps: the optimizer steps of the whole run.
    """

    pictures: int
    batch: int
    accumulation: int
    epochs: int
    processes: int
    batches: int
    steps: int
    decided_by: str

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every picture was seen its repeats; the last may be a smaller one."""
        return max(1, math.ceil(self.batches / (self.accumulation * self.processes)))

    @property
    def epochs_run(self) -> int:
        return math.ceil(self.steps / self.steps_per_epoch)

    def arithmetic(self) -> str:
        """Such as "120 pictures × repeats ÷ batch 6 × 5 epochs = 100 steps"."""
        if self.decided_by == "max_train_steps":
            return f"{self.steps} steps, as Max train steps says ({self.epochs_run} epochs of {self.steps_per_epoch})"
        accumulation = f" ÷ accumulation {self.accumulation}" if self.accumulation > 1 else ""
        beside = f" of {self.processes} batches, one for each process" if self.processes > 1 else ""
        return (
            f"{self.pictures} (pictures × repeats) ÷ batch {self.batch}{accumulation} "
            f"× {self.epochs} epoch{'s' if self.epochs != 1 else ''} = {self.steps} steps{beside}"
        )


def plan_steps(pictures: int, optimizer: Optimizer, processes: int = 1, batches: int | None = None) -> StepPlan:
    """Count as kohya_ss does: ⌈pictures · repeats ÷ batch ÷ accumulation · epochs⌉.

    batches: of an epoch, where buckets are known; else as if all pictures had one size.
    Max train epoch counts whole epochs and wins over Max train steps, which wins over Epoch, as in
    sd-scripts.
    """
    batch, accumulation = optimizer.train_batch_size, optimizer.gradient_accumulation_steps
    epochs = optimizer.max_train_epochs or optimizer.epoch
    batches = math.ceil(pictures / batch) if batches is None else batches
    plan = StepPlan(pictures, batch, accumulation, epochs, processes, batches, 0, "epoch")
    if optimizer.max_train_epochs:
        steps, decided_by = optimizer.max_train_epochs * plan.steps_per_epoch, "max_train_epochs"
    elif optimizer.max_train_steps:
        steps, decided_by = optimizer.max_train_steps, "max_train_steps"
    else:
        # Whole numbers throughout: 0.1 + 0.2 has no place in a count.
        steps, decided_by = -(-pictures * epochs // (batch * accumulation)), "epoch"
    return replace(plan, steps=steps, decided_by=decided_by)


def plan_of(items: list[Item], settings: TrainingSettings, places: list[Placed] | None = None) -> StepPlan:
    """The plan of a run on these pictures.  places: where they are known, they give the number of batches."""
    batch = settings.optimizer.train_batch_size
    batches = None
    if places is not None:
        counts = Counter[Size]()
        for item, place in zip(items, places, strict=True):
            counts[place.bucket] += item.repeats
        batches = sum(math.ceil(count / batch) for count in counts.values())
    pictures = sum(item.repeats for item in items)
    return plan_steps(pictures, settings.optimizer, settings.hardware.num_processes, batches)
