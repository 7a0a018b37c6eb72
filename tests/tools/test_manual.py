"""Captions written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.tools.manual import Page, listed, next_without_caption, read_page, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        Image.new("RGB", (2000, 10)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.txt").write_text("mine\n")
    return tmp_path


def test_pictures_are_listed_or_a_sentence_says_why_not(folder: Path):
    assert [Path(name).name for name in listed(f' "{folder}" ', ".txt", False)] == ["a.png", "b.png", "c.png"]
    for given, words in (("", "Enter"), (f"{folder}/none", "There is no folder"), ("a\0", "no path can have")):
        with pytest.raises(ValueError, match=words):
            listed(given, ".txt", False)
    with pytest.raises(ValueError, match="is not a file extension"):
        listed(str(folder), "txt", False)


def test_what_was_changed_is_saved_and_nothing_else(folder: Path):
    page = read_page(str(folder / "b.png"), ".txt")
    assert page.caption == "mine"
    assert save(page, ".txt", " mine ") == ""
    assert save(page, ".txt", "ours") == "Saved b.txt."
    assert (folder / "b.txt").read_text() == "ours\n"
    assert save(read_page(str(folder / "a.png"), ".txt"), ".txt", "") == ""
    assert not (folder / "a.txt").exists()


def test_words_of_another_program_are_kept(folder: Path):
    page = read_page(str(folder / "b.png"), ".txt")
    (folder / "b.txt").write_text("theirs")
    assert "Another program had changed it" in save(page, ".txt", "ours")
    assert (folder / "b.txt").read_text() == "ours\n"
    assert (folder / "b.txt.bak").read_text() == "theirs"


def test_what_cannot_be_read_or_written_is_told_and_stays(folder: Path):
    (folder / "b.txt").write_bytes(b"caf\xe9")
    page = read_page(str(folder / "b.png"), ".txt")
    assert "not UTF-8" in page.problem
    with pytest.raises(ValueError, match="not UTF-8"):
        save(page, ".txt", "ours")
    assert (folder / "b.txt").read_bytes() == b"caf\xe9"
    (folder / "c.txt").mkdir()
    with pytest.raises(ValueError, match="cannot be written"):
        save(Page(folder / "c.png", ""), ".txt", "ours")
    (folder / "a.png").write_bytes(b"no")
    broken = read_page(str(folder / "a.png"), ".txt")
    assert broken.problem == "a.png is not a picture that can be read."
    assert broken.image() is None


def test_a_picture_is_shown_no_larger_than_it_needs_to_be(folder: Path):
    image = read_page(str(folder / "a.png"), ".txt").image()
    assert image is not None
    assert image.size == (1024, 5)


def test_the_next_picture_without_a_caption_is_found_going_round(folder: Path):
    pictures = listed(str(folder), ".txt", False)
    assert [next_without_caption(pictures, ".txt", place) for place in range(3)] == [2, 2, 0]
    (folder / "a.txt").touch()
    (folder / "c.txt").touch()
    assert next_without_caption(pictures, ".txt", 1) == 1
