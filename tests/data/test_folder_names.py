"""Which sub-folders are trained on, and what a name becomes that is not quite REPEATS_WORDS."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.check.check import check
from engine.check.mend import mended
from engine.check.pictures import ADD_NUMBERS
from engine.data.folders import scan, with_number
from engine.settings.dataset_toml import read_dataset
from engine.settings.training import TrainingSettings
from engine.tools.pictures import PictureFolder, pictures_of
from tests.pictures import draw_pictures

OF_SYSTEMS = [
    ".git", ".ipynb_checkpoints", ".Trashes", "__MACOSX", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information",
    "@eaDir", "@Recycle", "#recycle", "lost+found", "Thumbs",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("10 sks cat", "10_sks cat"),
        ("10-sks cat", "10_sks cat"),
        ("10 - sks cat", "10_sks cat"),
        ("3  dog", "3_dog"),
        ("10 sks_cat-ears", "10_sks_cat-ears"),
        ("sks cat", "10_sks cat"),
        ("sks 10 cat", "10_sks 10 cat"),
        ("3d render", "10_3d render"),  # no number of repeats, but a word
        ("2023-05 Rome", "10_2023-05 Rome"),  # a year
        ("_cat", "10__cat"),
        ("10 ", "10_10 "),
        ("-5 cat", "10_-5 cat"),
        ("0 cat", "10_0 cat"),  # no repeats at all would leave it out
        ("000 x", "10_000 x"),
        ("007-bond", "10_007-bond"),
        ("00 - x", "10_00 - x"),
        ("100 x", "100_x"),
    ],
)
def test_a_number_that_stands_there_is_taken_as_the_repeats(name: str, becomes: str):
    assert with_number(name) == becomes


def test_the_button_does_so_and_leaves_what_is_none_of_the_users_alone(settings: TrainingSettings, tmp_path: Path):
    photos = tmp_path / "photos"
    for name in ("10 sks cat", "3-dog", "horse", *OF_SYSTEMS):
        draw_pictures(photos / name, 1)
    chosen = settings.with_values({"train_data_dir": str(photos)})
    (problem,) = (problem for problem in check(chosen).problems if problem.fix == ADD_NUMBERS)
    assert problem.what == (
        'Found pictures in "10 sks cat", "3-dog", "horse", but none in a sub-folder named REPEATS_WORDS.'
    )
    assert problem.mend == 'Rename it, such as "photos/10_sks cat".'
    after = mended(problem, chosen)
    assert sorted(folder.name for folder in photos.iterdir()) == sorted(
        ["10_sks cat", "3_dog", "10_horse", *OF_SYSTEMS]
    )
    assert check(after).problems == []
    assert check(after).plan.pictures == 10 + 3 + 10  # one picture in each, by its repeats


@pytest.mark.parametrize("name", OF_SYSTEMS)
def test_pictures_there_are_neither_trained_on_nor_told_nor_captioned(
    settings: TrainingSettings, tmp_path: Path, name: str
):
    hidden = draw_pictures(tmp_path / "img" / name, 2)
    assert check(settings).problems == []
    every = pictures_of(PictureFolder(train_data_dir=str(tmp_path / "img"), recursive=True), lambda file, why: None)
    assert not [picture for picture in every if picture.parent == hidden]
    assert len(every) == 5


@pytest.mark.parametrize(
    ("name", "repeats", "words"), [("10", 10, ""), ("010", 10, ""), ("7_", 7, ""), ("7__a", 7, "_a")]
)
def test_a_bare_number_is_the_repeats_of_a_folder_without_words(tmp_path: Path, name: str, repeats: int, words: str):
    """sd-scripts parts the name at underscores and takes what stands before the first one as a number."""
    draw_pictures(tmp_path / name, 2)
    found = scan(tmp_path)
    assert [(concept.repeats, concept.words) for concept in found.concepts] == [(repeats, words)]
    assert found.unnumbered == ()


def test_a_bare_0_is_off_and_other_signs_make_no_number(tmp_path: Path):
    for name in ("0", "10cat", "ten", "1.5"):
        draw_pictures(tmp_path / name, 1)
    found = scan(tmp_path)
    assert [folder.name for folder in found.switched_off] == ["0"]
    assert [folder.name for folder in found.unnumbered] == ["1.5", "10cat", "ten"]


def test_a_bare_number_is_known_in_a_dataset_config_too():
    read = read_dataset({"datasets": [{"subsets": [{"image_dir": "/photos/10", "num_repeats": 10}]}]})
    assert read.data["train_data_dir"] == "/photos"
    assert read.notes == []
