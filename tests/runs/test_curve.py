"""Losses in bounded memory: what is drawn of a million steps is the mean of all of them, place by place."""

from __future__ import annotations

import math
import random

import pytest

from engine.runs.curve import MOST_POINTS, Curve


def curve_of(count: int, first: int = 1) -> Curve:
    curve = Curve()
    for step in range(first, first + count):
        curve.add(step, loss(step), -loss(step))
    return curve


def loss(step: int) -> float:
    return math.sin(step / 500) + random.Random(step).random()


@pytest.mark.parametrize("count", [1, 7, MOST_POINTS])
def test_as_long_as_there_is_room_every_step_is_a_point(count: int):
    points = curve_of(count).points
    assert [(p.step, p.raw.value, p.smoothed.value) for p in points] == [
        (step, loss(step), -loss(step)) for step in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [MOST_POINTS + 1, 1000, 12_345, 100_000])
def test_then_each_is_the_mean_of_its_neighbours_and_none_is_passed_over(count: int):
    points = curve_of(count).points
    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS
    assert sum(p.steps for p in points) == sum(p.raw.count for p in points) == count
    assert points[-1].step == count
    before = 0
    for point in points:
        own = [loss(step) for step in range(before + 1, point.step + 1)]
        assert len(own) == point.steps
        assert point.raw.value == pytest.approx(sum(own) / len(own))
        assert point.smoothed.value == pytest.approx(-sum(own) / len(own))
        before = point.step
    assert len({p.steps for p in points[:-1]}) == 1  # evenly over the run


def test_a_loss_that_is_no_number_leaves_the_mean_of_the_others():
    curve = Curve()
    for step in range(1, 1001):
        curve.add(step, None if step % 2 else 3.0, 1.0)
    assert {p.raw.value for p in curve.points if p.raw.count} == {3.0}
    assert sum(p.steps for p in curve.points) == 1000


@pytest.mark.parametrize("cut", [0, 1, 100, 320, 999, 1000, 2000])
def test_what_comes_after_a_step_is_forgotten(cut: int):
    curve = curve_of(1000)
    curve.cut(cut)
    assert sum(p.steps for p in curve.points) == min(cut, 1000)
    assert (curve.points[-1].step if curve.points else 0) == min(cut, 1000)


def test_after_a_cut_the_curve_goes_on():
    curve = curve_of(1000)
    curve.cut(600)
    for step in range(601, 5001):
        curve.add(step, loss(step), 0.0)
    assert sum(p.steps for p in curve.points) == 5000
    assert len(curve.points) <= MOST_POINTS


def test_a_copy_stays_as_it_was():
    curve = curve_of(400)
    copy = curve.copy()
    for step in range(401, 2000):
        curve.add(step, 1.0, 1.0)
    assert copy == curve_of(400)
