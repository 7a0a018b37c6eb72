"""Thumbnails do not pile up: the longest unused go first, those in use never."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from engine.data import looks, thumbnails
from engine.data.thumbnails import IN_USE, OLDEST, tidy, used
from ui.dataset_state import Hand

DAY = 24 * 3600


def kept(root: Path, days: dict[str, float]) -> None:
    """Thumbnails of 1000 bytes that were last used so many days ago."""
    for name, ago in days.items():
        file = root / name[:2] / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1000)
        os.utime(file, (time.time() - ago * DAY, time.time() - 400 * DAY))


def left(root: Path) -> set[str]:
    return {file.stem for file in root.rglob("*.jpg")}


def test_the_longest_unused_go_until_there_is_room_again(tmp_path: Path):
    kept(tmp_path, {"aa1": 9, "aa2": 3, "bb1": 7, "bb2": 5, "cc1": 2})
    assert tidy(tmp_path, most=5000) == 0
    assert tidy(tmp_path, most=4000) == 2  # down to 80 % of 4000
    assert left(tmp_path) == {"aa2", "bb2", "cc1"}


def test_what_is_in_use_stays_whatever_it_takes(tmp_path: Path):
    kept(tmp_path, {"aa1": 0.1, "aa2": 0.9, "bb1": 3})
    assert tidy(tmp_path, most=10) == 1
    assert left(tmp_path) == {"aa1", "aa2"}
    assert IN_USE == DAY


def test_after_three_months_without_use_they_go_and_nothing_else_does(tmp_path: Path):
    kept(tmp_path, {"aa1": 91, "bb1": 89})
    (tmp_path / "aa" / "notes.txt").write_text("mine")
    (tmp_path / "stray.jpg").write_bytes(b"not in a folder of ours")
    assert tidy(tmp_path) == 1
    assert left(tmp_path) == {"bb1", "stray"}
    assert (tmp_path / "aa" / "notes.txt").exists()
    assert OLDEST == 90 * DAY
    assert tidy(tmp_path / "nowhere") == 0


def test_to_show_one_is_to_use_it_and_one_that_is_gone_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    picture = tmp_path / "a.png"
    Image.new("RGB", (50, 50), "red").save(picture)
    first = looks.look(picture)
    assert first.thumbnail
    before = first.thumbnail.stat()
    os.utime(first.thumbnail, ns=(0, before.st_mtime_ns))
    with monkeypatch.context() as without:
        without.setattr(looks, "_made", lambda *_: pytest.fail("it was made again"))
        assert looks.look(picture) == first
    after = first.thumbnail.stat()
    assert after.st_mtime_ns == before.st_mtime_ns
    assert time.time() - after.st_atime < 60

    assert looks.is_there(first)
    first.thumbnail.unlink()
    assert not looks.is_there(first)
    assert looks.is_there(looks.Look(unreadable="it is broken"))
    assert not looks.is_there(None)
    used(first.thumbnail)  # no matter
    assert looks.look(picture) == first
    assert looks.is_there(first)


def test_looking_at_pictures_tidies_once_in_a_while(monkeypatch: pytest.MonkeyPatch, runs: Path):
    tidied = []
    monkeypatch.setattr(thumbnails, "_looked", 0.0)
    monkeypatch.setattr(thumbnails, "tidy", tidied.append)
    list(looks.looks_of([]))
    list(looks.looks_of([]))
    for _ in range(100):
        if tidied:
            break
        time.sleep(0.01)
    assert tidied == [runs.with_name("thumbnails")]


def test_the_page_makes_thumbnails_again_that_are_gone(tmp_path: Path, settings):
    hand = Hand().surveyed(settings)
    assert len(hand.missing()) == 5
    list(hand.look_at(hand.missing()))
    assert hand.missing() == []
    gone = hand.survey.seen[2].picture
    hand.looks[gone].thumbnail.unlink()
    assert replace(hand, found=(0, 2)).missing() == [gone]
