"""Which pictures an epoch shows, and what becomes of their captions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.captions import varied
from engine.data.folders import scan
from engine.data.items import Item, balanced, items_of
from engine.data.steps import plan_of
from engine.settings.captions import Captions
from engine.settings.training import TrainingSettings
from tests.pictures import draw_pictures

CAPTION = "sks cat, sitting, red hat, indoors"


def seen(count: int = 200, epoch: int = 1, **settings: object) -> list[str]:
    rng = random.Random(3)
    return [varied(CAPTION, Captions(**settings), epoch, rng) for _ in range(count)]


def test_a_caption_is_left_as_it_is():
    assert set(seen()) == {CAPTION}


@pytest.mark.shows("shuffle_caption", "keep_tokens")
def test_parts_are_shuffled_but_those_kept_in_front():
    shuffled = seen(shuffle_caption=True)
    assert {tuple(sorted(caption.split(", "))) for caption in shuffled} == {tuple(sorted(CAPTION.split(", ")))}
    assert len(set(shuffled)) == 24  # 4!
    kept = seen(shuffle_caption=True, keep_tokens=2)
    assert set(kept) == {CAPTION, "sks cat, sitting, indoors, red hat"}


@pytest.mark.shows("caption_dropout_rate")
def test_captions_are_dropped_at_their_rate():
    assert 60 < seen(400, caption_dropout_rate=0.25).count("") < 140  # 100 expected, deviation 8.7


@pytest.mark.shows("caption_dropout_every_n_epochs")
def test_every_nth_epoch_has_no_captions():
    """Epochs count from 1, as in sd-scripts."""
    without = [epoch for epoch in range(1, 8) if set(seen(5, epoch, caption_dropout_every_n_epochs=3)) == {""}]
    assert without == [3, 6]


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
