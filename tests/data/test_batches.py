"""What a step shows is a function of seed and step: for a run that goes on, and for several processes."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.batches import Batches, derived_seed


def pictures_of_epoch(batches: list[Batches], epoch: int = 0) -> Counter[int]:
    """How often an epoch shows each picture, over all processes, fillers left out."""
    per_epoch = batches[0].steps_per_epoch
    return Counter(
        picture
        for process in batches
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch)
        for batch in process.at(step)
        if batch.weight > 0
        for picture in batch.pictures
    )


@given(
    repeats=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    batch_size=st.integers(1, 7),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_an_epoch_shows_every_picture_its_repeats_whatever_the_batches(
    repeats, batch_size, accumulation, processes, epoch
):
    ranks = [Batches(repeats, batch_size, accumulation, 3, processes, rank) for rank in range(processes)]
    assert pictures_of_epoch(ranks, epoch) == Counter(dict(enumerate(repeats)))


@given(
    repeats=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    batch_size=st.integers(1, 7),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 4),
)
def test_every_process_has_as_many_batches_and_the_weights_make_a_mean(repeats, batch_size, accumulation, processes):
    ranks = [Batches(repeats, batch_size, accumulation, 3, processes, rank) for rank in range(processes)]
    for step in range(ranks[0].steps_per_epoch):
        of_step = [process.at(step) for process in ranks]
        assert len({len(batches) for batches in of_step}) == 1
        # The gradient is averaged over processes, so the weights of all of them add up to their number, or in an
        # epoch's last step to the share of batches that are left for each.
        share = len(of_step[0]) / accumulation
        assert share == 1 or step == ranks[0].steps_per_epoch - 1
        assert math.isclose(sum(batch.weight for batches in of_step for batch in batches), processes * share)


def test_the_same_step_of_the_same_seed_is_the_same_however_it_was_reached():
    walked = Batches([2, 3, 1], 2, 1, seed=9)
    story = [walked.at(step) for step in range(12)]
    assert Batches([2, 3, 1], 2, 1, seed=9).at(7) == story[7]
    assert Batches([2, 3, 1], 2, 1, seed=10).at(7) != story[7]


def test_epochs_are_shuffled_differently():
    batches = Batches([1] * 30, 30, 1, seed=1)
    assert batches.at(0)[0].pictures != batches.at(1)[0].pictures


def test_two_processes_show_the_pictures_and_noise_that_one_with_accumulation_shows():
    alone = Batches([1] * 8, 2, 2, seed=5).at(1)
    beside = [Batches([1] * 8, 2, 1, seed=5, processes=2, rank=rank).at(1)[0] for rank in (0, 1)]
    assert [(b.pictures, b.seed) for b in beside] == [(b.pictures, b.seed) for b in alone]


def test_no_two_batches_share_their_noise():
    seeds = [batch.seed for step in range(50) for batch in Batches([1] * 8, 2, 2, seed=5).at(step)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("parts", [(1, "a"), (0,), ("x", 2**70)])
def test_a_derived_seed_fits_torch(parts):
    assert 0 <= derived_seed(*parts) < 2**63
