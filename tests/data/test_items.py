"""Which pictures an epoch shows, and how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.folders import scan
from engine.data.items import Item, Subset, TrainingSet, balanced, items_of
from engine.data.steps import plan_of
from engine.settings.training import TrainingSettings
from engine.settings.validation import Validation
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
    items = TrainingSet.of(items_of(own), items_of(regularisation)).items
    assert sum(item.repeats for item in items if item.is_regularisation) == own.weight
    assert plan_of(items, settings).steps == 2 * plan_of(items_of(own), settings).steps


def test_each_folder_holds_out_its_share_the_same_ones_with_the_same_seed():
    validation = Validation(validation_split=0.3)
    subset = Subset(validation=validation)
    own = [Item(Path(f"{folder}/{n}.png"), "cat", 2, subset=subset) for folder, many in
           (("a", 10), ("b", 4), ("c", 1)) for n in range(many)]  # fmt: skip
    regularisation = [Item(Path(f"reg/{n}.png"), "animal", 1, subset=subset) for n in range(5)]
    found = TrainingSet.of(own, regularisation)
    assert Counter(item.picture.parent.name for item in found.held_out) == {"a": 3, "b": 1}
    learned = [item for item in found.items if not item.is_regularisation]
    assert sorted(item.picture for item in (*learned, *found.held_out)) == sorted(item.picture for item in own)
    assert sum(item.repeats for item in found.items if item.is_regularisation) == 2 * len(learned)
    assert TrainingSet.of(own, regularisation) == found
    other = Subset(validation=validation.model_copy(update={"validation_seed": 1}))
    assert TrainingSet.of([replace(item, subset=other) for item in own]).held_out != found.held_out


def test_those_held_out_are_the_ones_that_sd_scripts_holds_out():
    """Its split_train_val() shuffles [0 … 9] by seed 42 to 7 3 2 8 5 6 9 4 0 1 and takes the last two of ten."""
    subset = Subset(validation=Validation(validation_split=0.2, validation_seed=42))
    own = [Item(Path(f"{number}.png"), "cat", 1, subset=subset) for number in range(10)]
    assert [item.picture.stem for item in TrainingSet.of(own).held_out] == ["0", "1"]


@pytest.mark.parametrize(("split", "pictures", "held_out"), [(0.9, 1, 0), (0.9, 2, 1), (0.1, 4, 0), (0, 9, 0),
                                                              (0.99, 3, 2), (1, 1, 1), (1, 3, 3)])  # fmt: skip
def test_a_folder_keeps_one_picture_to_learn_from_unless_all_of_it_is_asked_for(
    split: float, pictures: int, held_out: int
):
    subset = Subset(validation=Validation(validation_split=split))
    own = [Item(Path(f"{number}.png"), "cat", 1, subset=subset) for number in range(pictures)]
    assert len(TrainingSet.of(own).held_out) == held_out


def test_nothing_is_learned_from_a_picture_held_out_where_it_is_a_regularisation_picture_too(tmp_path: Path):
    """By another path as well; and those that are left are balanced."""
    draw_pictures(tmp_path / "cats", 4)
    (tmp_path / "reg").symlink_to(tmp_path / "cats")
    subset = Subset(validation=Validation(validation_split=0.5))
    own, regularisation = (
        [Item(file, "cat", 3, subset=subset) for file in sorted((tmp_path / name).glob("*.png"))]
        for name in ("cats", "reg")
    )
    found = TrainingSet.of(own, regularisation)
    out = {item.picture.name for item in found.held_out}
    assert len(out) == 2
    assert not out & {item.picture.name for item in found.items}
    assert sum(item.repeats for item in found.items if item.is_regularisation) == 6  # as those that are learned from
    (note,) = found.notes
    assert note.startswith("2 of the pictures held out are also listed elsewhere")
    assert TrainingSet.of(own, [replace(item, picture=Path("other") / item.picture.name) for item in own]).notes == ()
