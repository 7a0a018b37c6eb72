"""Files and folders are there whole or not at all, and nothing of what was begun stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import disk
from engine.disk import (
    DiskFull,
    amount,
    aside,
    folder_written_whole,
    is_for_want_of_room,
    moved_aside,
    remove_leftovers,
    removed,
    written_whole,
)

NOBODY = 2**22 + 1
"""A number that no process has."""


def filled(folder: Path, name: str) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / name).write_text(name)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def begun_by(process: int, start: int, path: Path, kind: str = "new", machine: str = "") -> Path:
    mark = f"{process}-{start}-{machine or disk._this_machine()}"
    return path.with_name(f".{path.name}.{mark}.{kind}")


def test_a_folder_is_replaced_with_all_that_is_in_it(tmp_path: Path):
    filled(tmp_path / "model", "old")
    with folder_written_whole(tmp_path / "model") as new:
        filled(new, "new")
        assert files(tmp_path / "model") == ["unet/old"]
    assert files(tmp_path) == ["model/unet/new"]


def test_where_writing_fails_the_old_folder_stays_and_nothing_else(tmp_path: Path):
    filled(tmp_path / "model", "old")

    def broken() -> None:
        with folder_written_whole(tmp_path / "model") as new:
            filled(new, "new")
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        broken()
    assert files(tmp_path) == ["model/unet/old"]


def test_where_the_new_folder_cannot_take_its_place_the_old_one_comes_back(tmp_path: Path, monkeypatch):
    filled(tmp_path / "model", "old")
    moves = disk.moved

    def moved(source: Path, target: Path) -> None:
        if source.name.endswith(".new"):
            raise OSError(28, "No space left on device")
        moves(source, target)

    monkeypatch.setattr(disk, "moved", moved)

    def full() -> None:
        with folder_written_whole(tmp_path / "model") as new:
            filled(new, "new")

    with pytest.raises(DiskFull):
        full()
    assert files(tmp_path) == ["model/unet/old"]


def test_what_writes_files_of_its_own_beside_leaves_none(tmp_path: Path):
    def killed() -> None:
        with written_whole(tmp_path / "a.safetensors", within=True) as new:
            new.with_name(".tmpkK7tCA").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_nearly_too_long_can_be_written(tmp_path: Path):
    with written_whole(tmp_path / ("ß" * 125)) as new:
        new.write_text("whole")
    assert files(tmp_path) == ["ß" * 125]


class TestWhatKillsLeave:
    def test_a_folder_that_was_being_replaced_comes_back(self, tmp_path: Path):
        old = filled(begun_by(NOBODY, 7, tmp_path / "model", "old"), "old")
        assert moved_aside(tmp_path / "model") == old
        remove_leftovers(tmp_path)
        assert files(tmp_path) == ["model/unet/old"]
        assert moved_aside(tmp_path / "model") is None

    def test_what_was_begun_goes_at_once_and_so_does_what_was_replaced(self, tmp_path: Path):
        for kind in ("new", "old"):
            filled(begun_by(NOBODY, 7, tmp_path / "model", kind), "left")
        begun_by(NOBODY, 7, tmp_path / "a.txt").touch()
        filled(tmp_path / "model", "new")
        remove_leftovers(tmp_path)
        assert files(tmp_path) == ["model/unet/new"]

    def test_a_process_number_in_use_again_keeps_nothing(self, tmp_path: Path):
        """This process has the number, but not the start of the one that began them."""
        filled(begun_by(os.getpid(), 7, tmp_path / "model", "old"), "old")
        begun_by(os.getpid(), 7, tmp_path / "a.txt").touch()
        remove_leftovers(tmp_path)
        assert files(tmp_path) == ["model/unet/old"]

    def test_nor_does_a_dead_child_that_was_not_waited_for(self, tmp_path: Path):
        code = "import sys; from engine.disk import aside; from pathlib import Path; aside(Path(sys.argv[1])).touch()"
        root = Path(disk.__file__).parents[1]
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.txt")], cwd=root) as child:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            assert len(list(tmp_path.iterdir())) == 1
            remove_leftovers(tmp_path)
            assert not list(tmp_path.iterdir())

    def test_what_is_being_written_stays(self, tmp_path: Path):
        for kind in ("new", "old"):
            aside(tmp_path / kind, kind).touch()
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2

    def test_names_that_only_look_alike_are_the_users_own(self, tmp_path: Path, monkeypatch):
        monkeypatch.setattr(disk, "LEFT_BEHIND", 0.0)
        names = [".photo.20240101.new", ".notes.2024.old", ".a.1-2.new", ".a.1-2-xyz.old", "a.1-2-00000000.new"]
        for name in names:
            (tmp_path / name).touch()
        remove_leftovers(tmp_path)
        assert files(tmp_path) == sorted(names)

    def test_one_that_cannot_be_removed_hinders_nothing(self, tmp_path: Path, monkeypatch):
        for name in ("a", "b"):
            begun_by(NOBODY, 7, tmp_path / name).touch()
        deleted = disk._deleted

        def refused(path: Path) -> None:
            if path.name.startswith(".a."):
                raise PermissionError(13, "Permission denied")
            deleted(path)

        monkeypatch.setattr(disk, "_deleted", refused)
        remove_leftovers(tmp_path)
        assert [path.name[:3] for path in tmp_path.iterdir()] == [".a."]

    def test_another_machines_stays_for_an_hour(self, tmp_path: Path, monkeypatch):
        begun = begun_by(NOBODY, 7, tmp_path / "a.txt", machine="00000000")
        begun.touch()
        remove_leftovers(tmp_path)
        assert begun.exists()
        monkeypatch.setattr(disk, "LEFT_BEHIND", 0.0)
        remove_leftovers(tmp_path)
        assert not begun.exists()

    def test_a_folder_that_is_deleted_is_whole_or_hidden(self, tmp_path: Path, monkeypatch):
        filled(tmp_path / "cat-state", "weights")
        monkeypatch.setattr(disk.shutil, "rmtree", lambda *_, **__: None)  # a kill in the middle of it
        removed(tmp_path / "cat-state")
        assert not (tmp_path / "cat-state").exists()
        monkeypatch.undo()
        monkeypatch.setattr(disk, "_start_of", lambda _: 7)
        remove_leftovers(tmp_path)
        assert files(tmp_path)  # this process, which goes on, is at it
        for entry in tmp_path.iterdir():
            entry.rename(begun_by(NOBODY, 7, tmp_path / "cat-state"))
        remove_leftovers(tmp_path)
        assert not list(tmp_path.iterdir())


class TestAFullDisk:
    @pytest.mark.parametrize(
        "error",
        [
            OSError(28, "No space left on device"),
            RuntimeError("SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)"),
            OSError(122, "Disk quota exceeded"),
            ValueError("[enforce fail] file write failed: There is not enough space on the disk."),
        ],
    )
    def test_is_known_by_what_any_library_says_of_it(self, tmp_path: Path, error: Exception):
        def full() -> None:
            with written_whole(tmp_path / "cat.safetensors", needs=1000) as new:
                new.touch()
                raise error

        with pytest.raises(DiskFull, match=r'The disk is full: "cat.safetensors" in ".*" cannot be written although'):
            full()
        assert not list(tmp_path.iterdir())
        wrapped = KeyError("weights")
        wrapped.__cause__ = error
        assert is_for_want_of_room(wrapped)

    def test_is_seen_before_anything_is_written(self, tmp_path: Path):
        def full() -> None:
            with written_whole(tmp_path / "cat.safetensors", needs=2**60):
                raise AssertionError("nothing is begun")

        with pytest.raises(DiskFull, match=r"needs about 1152921504\.6 GB, but only"):
            full()

    @pytest.mark.parametrize("told", [(0, 0, 0), OSError(38, "Function not implemented")])
    def test_a_file_system_that_does_not_say_what_is_free_is_written_to(self, tmp_path: Path, monkeypatch, told):
        def usage(_: Path) -> tuple[int, int, int]:
            if isinstance(told, OSError):
                raise told
            return told

        monkeypatch.setattr(disk.shutil, "disk_usage", usage)
        with written_whole(tmp_path / "a", needs=2**60) as new:
            new.write_text("whole")
        assert (tmp_path / "a").read_text() == "whole"

    def test_other_errors_are_not_taken_for_it(self, tmp_path: Path):
        def broken() -> None:
            with written_whole(tmp_path / "a"):
                raise ValueError("a tensor is not contiguous")

        with pytest.raises(ValueError, match="contiguous"):
            broken()

    def test_amounts(self):
        assert [amount(0), amount(1500), amount(2_340_000), amount(3_200_000_000)] == [
            "0 KB",
            "2 KB",
            "2.3 MB",
            "3.2 GB",
        ]
