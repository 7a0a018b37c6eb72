"""Files and folders are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.disk import folder_written_whole, remove_leftovers

NOBODY = 2**22 + 1
"""A number that no process has."""


def filled(folder: Path, name: str) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / name).write_text(name)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_folder_is_replaced_with_all_that_is_in_it(tmp_path: Path):
    filled(tmp_path / "model", "old")
    with folder_written_whole(tmp_path / "model") as new:
        filled(new, "new")
        assert files(tmp_path / "model") == ["unet/old"]
    assert files(tmp_path) == ["model/unet/new"]


def test_where_writing_fails_the_old_folder_stays_and_nothing_else(tmp_path: Path):
    filled(tmp_path / "model", "old")

    def full_disk() -> None:
        with folder_written_whole(tmp_path / "model") as new:
            filled(new, "new")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        full_disk()
    assert files(tmp_path) == ["model/unet/old"]


def test_a_folder_that_was_being_replaced_at_a_kill_comes_back(tmp_path: Path):
    filled(tmp_path / f".model.{NOBODY}.old", "old")
    filled(tmp_path / f".other.{os.getpid()}.old", "of a living process")
    remove_leftovers(tmp_path)
    assert files(tmp_path) == [f".other.{os.getpid()}.old/unet/of a living process", "model/unet/old"]


def test_what_was_begun_long_ago_is_removed(tmp_path: Path):
    for name in (f".model.{NOBODY}.new", f".model.{NOBODY}.old"):
        filled(tmp_path / name, "left")
        os.utime(tmp_path / name, (0, 0))
    filled(tmp_path / "model", "new")
    remove_leftovers(tmp_path)
    assert files(tmp_path) == ["model/unet/new"]
