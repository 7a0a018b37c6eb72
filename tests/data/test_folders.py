"""Where pictures are looked for, and what is done for those who put them elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.captions import caption_of
from engine.data.folders import add_number, captions_without_picture, move_into_concept, scan
from engine.failure import Failure
from tests.pictures import draw_pictures


def test_a_sub_folder_is_a_concept_with_repeats_and_words(tmp_path: Path):
    draw_pictures(tmp_path / "10_sks cat", 3)
    draw_pictures(tmp_path / "2_dog_with_hat", 1)
    concepts = scan(tmp_path).concepts
    assert [(c.repeats, c.words, len(c.pictures), c.weight) for c in concepts] == [
        (10, "sks cat", 3, 30),
        (2, "dog_with_hat", 1, 2),
    ]
    assert scan(tmp_path).weight == 32


def test_other_folders_and_loose_pictures_are_named_but_not_trained(tmp_path: Path):
    draw_pictures(tmp_path, 2)
    draw_pictures(tmp_path / "cats", 1)
    draw_pictures(tmp_path / "0_never", 1)
    (tmp_path / "empty").mkdir()
    found = scan(tmp_path)
    assert found.concepts == ()
    assert [folder.name for folder in found.unnumbered] == ["cats"]
    assert [folder.name for folder in found.switched_off] == ["0_never"]
    assert len(found.loose) == 2


def test_endings_are_taken_in_any_case(tmp_path: Path):
    folder = draw_pictures(tmp_path / "1_a", 1)
    (folder / "00.png").rename(folder / "00.PNG")
    assert len(scan(tmp_path).concepts[0].pictures) == 1


def test_caption_files_without_a_picture_are_found(tmp_path: Path):
    folder = draw_pictures(tmp_path / "1_a", 1)
    (folder / "gone.txt").write_text("a cat")
    assert [file.name for file in captions_without_picture(scan(tmp_path).concepts[0], ".txt")] == ["gone.txt"]


def test_loose_pictures_move_with_their_captions(tmp_path: Path):
    draw_pictures(tmp_path, 2)
    (tmp_path / "notes.md").write_text("mine")
    target = move_into_concept(tmp_path, ".txt", repeats=5, words="cat")
    assert sorted(file.name for file in target.iterdir()) == ["00.png", "00.txt", "01.png", "01.txt"]
    assert (tmp_path / "notes.md").exists()
    assert scan(tmp_path).weight == 10


def test_nothing_is_replaced(tmp_path: Path):
    draw_pictures(tmp_path, 1)
    draw_pictures(tmp_path / "10_concept", 1)
    with pytest.raises(FileExistsError):
        move_into_concept(tmp_path, ".txt")
    draw_pictures(tmp_path / "cat", 1)
    draw_pictures(tmp_path / "10_cat", 1)
    with pytest.raises(FileExistsError):
        add_number(tmp_path / "cat")
    assert len(list(tmp_path.rglob("*.png"))) == 4


@pytest.mark.shows("caption_extension")
def test_a_picture_has_the_first_line_of_its_caption_or_its_folders_words(tmp_path: Path):
    picture = tmp_path / "a.b.png"
    assert caption_of(picture, ".txt", "sks cat") == "sks cat"
    (tmp_path / "a.b.txt").write_text("\ufeffa cat, sitting \nmore", encoding="utf-8")
    assert caption_of(picture, ".txt", "sks cat") == "a cat, sitting"
    (tmp_path / "a.b.txt").write_text("")
    assert caption_of(picture, ".txt", "sks cat") == ""


def test_a_caption_that_is_no_text_is_named(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(Failure, match=r"a\.txt is not UTF-8"):
        caption_of(tmp_path / "a.png", ".txt", "")


def test_captions_of_any_ending_move_too_and_an_empty_folder_is_used(tmp_path: Path):
    draw_pictures(tmp_path, 1, caption=False)
    (tmp_path / "00.tags").write_text("a cat")
    (tmp_path / "10_cat").mkdir()
    target = move_into_concept(tmp_path, ".tags", words="cat")
    assert sorted(file.name for file in target.iterdir()) == ["00.png", "00.tags"]
