"""How many steps a run has, and the arithmetic in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from engine.data.buckets import Placed, Size
from engine.data.items import Item
from engine.settings.optimizer import Optimizer
from engine.settings.training import TrainingSettings


@dataclass(frozen=True)
class StepPlan:
    """pictures: pictures × repeats of an epoch; 0 where a method learns without.  batch: pictures per step and
    process, by dataset.

    accumulation: batches per step.  epochs: requested.  processes: training in parallel.
    batches: of an epoch, if known: buckets leave some of them short.
    steps: the optimizer steps of the whole run.
    """

    pictures: int
    batch: tuple[int, ...]
    accumulation: int
    epochs: int
    processes: int
    batches: int
    steps: int
    decided_by: str

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every picture has been seen `repeats` times; the last may be smaller."""
        return max(1, math.ceil(self.batches / (self.accumulation * self.processes)))

    @property
    def epochs_run(self) -> int:
        return math.ceil(self.steps / self.steps_per_epoch)

    def arithmetic(self) -> str:
        """Such as "120 pictures × repeats ÷ batch 6 × 5 epochs = 100 steps"."""
        if not self.pictures:
            return f"{self.steps} steps, set by Max train steps"
        if self.decided_by == "max_train_steps":
            return f"{self.steps} steps, set by Max train steps ({self.epochs_run} epochs of {self.steps_per_epoch})"
        accumulation = f" ÷ accumulation {self.accumulation}" if self.accumulation > 1 else ""
        beside = f" of {self.processes} batches, one for each process" if self.processes > 1 else ""
        batch = " or ".join(map(str, dict.fromkeys(self.batch)))
        return (
            f"{self.pictures} (pictures × repeats) ÷ batch {batch}{accumulation} "
            f"× {self.epochs} epoch{'s' if self.epochs != 1 else ''} = {self.steps} steps{beside}"
        )


def plan_steps(
    pictures: int | Sequence[tuple[int, int]], optimizer: Optimizer, processes: int = 1, batches: int | None = None
) -> StepPlan:
    """Count as kohya_ss does: ⌈pictures · repeats ÷ batch ÷ accumulation · epochs⌉.

    pictures: · repeats; for several datasets, each one's with its batch size, and the quotients are added.
    batches: of an epoch, if buckets are known; otherwise as if all pictures had one size.
    Max train epoch counts whole epochs and overrides Max train steps, which overrides Epoch, as in
    sd-scripts.
    """
    datasets = [(pictures, optimizer.train_batch_size)] if isinstance(pictures, int) else pictures
    accumulation = optimizer.gradient_accumulation_steps
    epochs = optimizer.max_train_epochs or optimizer.epoch
    batches = sum(math.ceil(count / batch) for count, batch in datasets) if batches is None else batches
    total, sizes = sum(count for count, _ in datasets), tuple(batch for _, batch in datasets)
    plan = StepPlan(total, sizes, accumulation, epochs, processes, batches, 0, "epoch")
    if optimizer.max_train_epochs:
        steps, decided_by = optimizer.max_train_epochs * plan.steps_per_epoch, "max_train_epochs"
    elif optimizer.max_train_steps:
        steps, decided_by = optimizer.max_train_steps, "max_train_steps"
    else:
        # Integers throughout: no rounding errors in a count.
        exact = sum((Fraction(count, batch) for count, batch in datasets), Fraction(0))
        steps, decided_by = math.ceil(exact * epochs / accumulation), "epoch"
    return replace(plan, steps=steps, decided_by=decided_by)


def plan_of_prompts(settings: TrainingSettings, sets: int) -> StepPlan:
    """The plan of a run on so many sets of prompts, whose only epoch shows each equally often."""
    optimizer, processes = settings.optimizer, settings.hardware.num_processes
    per_step = optimizer.gradient_accumulation_steps * processes
    batches = sets * math.ceil(optimizer.max_train_steps * per_step / sets)
    plan = StepPlan(0, (1,), optimizer.gradient_accumulation_steps, 1, processes, batches, 0, "max_train_steps")
    return replace(plan, steps=optimizer.max_train_steps)


def plan_of(items: list[Item], settings: TrainingSettings, places: list[Placed] | None = None) -> StepPlan:
    """The plan of a run on these pictures.  places: if known, they give the number of batches."""
    sizes = {item.subset.dataset: item.subset.batch_size for item in items}
    shown = Counter[int]()
    for item in items:
        shown[item.subset.dataset] += item.repeats
    batches = None
    if places is not None:
        counts = Counter[tuple[int, Size]]()
        for item, place in zip(items, places, strict=True):
            counts[item.bucket(place)] += item.repeats
        batches = sum(math.ceil(count / sizes[dataset]) for (dataset, _), count in counts.items())
    datasets = [(count, sizes[dataset]) for dataset, count in shown.items()]
    return plan_steps(datasets, settings.optimizer, settings.hardware.num_processes, batches)
