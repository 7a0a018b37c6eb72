"""Which pictures an epoch shows, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.folders import scan
from engine.data.items import Item, balanced, items_of
from engine.data.steps import plan_of
from engine.settings.training import TrainingSettings
from tests.pictures import draw_pictures


def pictures(*repeats: int) -> list[Item]:
    return [Item(Path(f"{number}.png"), "cat", count) for number, count in enumerate(repeats)]


@pytest.mark.parametrize(
    ("repeats", "total", "expected"),
    [
        ((1, 1, 1), 7, [3, 2, 2]),  # each once, then one more in turn until there are 7
        ((2, 2), 4, [2, 2]),
        ((5, 5, 5), 6, [5, 5]),  # enough after two; the third is never shown
        ((1,), 4, [4]),
        ((), 4, []),
    ],
)
def test_regularisation_pictures_are_repeated_in_turn_until_there_are_as_many(repeats, total, expected):
    found = balanced(pictures(*repeats), total)
    assert [item.repeats for item in found] == expected
    assert all(item.is_regularisation for item in found)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 60))
def test_there_are_never_too_few_and_hardly_too_many(repeats: list[int], total: int):
    shown = sum(item.repeats for item in balanced(pictures(*repeats), total))
    assert total <= shown < total + max(repeats)


@pytest.mark.shows("reg_data_dir")
def test_with_regularisation_pictures_a_run_has_twice_the_steps(settings: TrainingSettings, tmp_path: Path):
    draw_pictures(tmp_path / "reg" / "1_shape", 3)
    own, regularisation = scan(tmp_path / "img"), scan(tmp_path / "reg")
    items = items_of(own, regularisation)
    assert sum(item.repeats for item in items if item.is_regularisation) == own.weight
    assert plan_of(items, settings).steps == 2 * plan_of(items_of(own), settings).steps
