"""What an epoch's last step weighs where fewer batches are left for it than are accumulated."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

from engine.data.batches import Batches


@pytest.mark.parametrize(("batches", "accumulation"), [(5, 2), (7, 4), (3, 8), (8, 4), (1, 3)])
def test_it_is_what_accelerate_makes_of_it(batches: int, accumulation: int):
    """The gradients that accelerate hands to the optimizer, as sd-scripts' loop asks for them."""
    numbers = torch.arange(1.0, batches + 1)
    accelerator = Accelerator(gradient_accumulation_steps=accumulation, cpu=True)
    weight = torch.nn.Parameter(torch.zeros(1))
    model = torch.nn.ParameterList([weight])
    loader = accelerator.prepare(DataLoader(TensorDataset(numbers), batch_size=1))
    theirs = []
    for (number,) in loader:
        with accelerator.accumulate(model):
            accelerator.backward((weight * number).mean())
            if accelerator.sync_gradients:
                theirs.append(weight.grad.item())
                weight.grad = None
    ours = Batches([1] * batches, 1, accumulation, seed=3)
    assert ours.steps_per_epoch == len(theirs)
    weights = [[batch.weight for batch in ours.at(step)] for step in range(len(theirs))]
    in_order = iter(numbers.tolist())
    assert [sum(weight * next(in_order) for weight in step) for step in weights] == pytest.approx(theirs)


@pytest.mark.parametrize(("accumulation", "processes", "expected"), [(4, 1, 0.25), (2, 2, 0.5), (1, 4, 1.0)])
def test_one_batch_alone_weighs_the_rounds_that_it_takes(accumulation: int, processes: int, expected: float):
    """Nine batches, four a step: the ninth alone. Over processes that have none, their mean is taken as of one."""
    ranks = [Batches([1] * 9, 1, accumulation, 3, processes, rank).at(2) for rank in range(processes)]
    assert sum(batch.weight for rank in ranks for batch in rank) / processes == expected
