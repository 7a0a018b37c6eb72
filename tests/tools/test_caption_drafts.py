"""Captions changed but not saved: nothing reaches the disk before, nothing is lost after."""

from __future__ import annotations

from pathlib import Path

from engine.tools.caption_drafts import Drafts, save, take_back


def test_changes_are_undone_one_by_one_and_those_that_change_nothing_do_not_count(tmp_path: Path):
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    on_disk = {a: "cat"}
    first = Drafts().changed({a: "dog", b: "new"}, on_disk)
    assert first.changed({a: "dog"}, on_disk) is first
    second = first.changed({a: "cat"}, on_disk)
    assert second.texts == {b: "new"}  # what is as on the disk again is no change
    assert second.undone() == first
    assert second.undone().undone().texts == {}
    assert Drafts().undone() == Drafts()


def test_saving_keeps_each_old_text(tmp_path: Path):
    old, new, odd = tmp_path / "old.txt", tmp_path / "new.txt", tmp_path / "odd.txt"
    old.write_text("cat\n")
    odd.write_bytes(b"\xff\xfe")
    saved = save({old: "dog", new: "bird ", odd: "fish"})
    assert (saved.written, saved.backups, saved.left) == (3, 2, {})
    assert (old.read_text(), new.read_text(), odd.read_text()) == ("dog\n", "bird\n", "fish\n")
    assert (tmp_path / "old.txt.bak").read_text() == "cat\n"
    assert (tmp_path / "odd.txt.bak").read_bytes() == b"\xff\xfe"
    assert not (tmp_path / "new.txt.bak").exists()


def test_what_cannot_be_written_is_named_and_the_rest_is_written(tmp_path: Path):
    blocked, fine = tmp_path / "blocked.txt", tmp_path / "fine.txt"
    blocked.mkdir()
    gone = tmp_path / "gone" / "a.txt"
    saved = save({blocked: "a", tmp_path / "half.txt": "\ud800", fine: "b", gone: "c"})
    assert saved.written == 1
    assert fine.read_text() == "b\n"
    assert set(saved.left) == {blocked, tmp_path / "half.txt", gone}
    assert not gone.parent.exists()
    assert not (tmp_path / "half.txt").exists()
    assert len(saved.report()[1]) == 3


def test_a_save_is_taken_back_whole(tmp_path: Path):
    """All files of it at once, to the byte; what it made is gone, and older backups stay."""
    old, new, odd, same, twice = (tmp_path / f"{name}.txt" for name in ("old", "new", "odd", "same", "twice"))
    before = {old: b"cat\r\n", odd: b"\xff\xfe", same: b" as it is", twice: b"second"}
    for file, content in before.items():
        file.write_bytes(content)
    (tmp_path / "twice.txt.bak").write_text("first")
    (tmp_path / "twice.txt.bak2").write_text("second")
    saved = save({old: "dog", new: "bird", odd: "fish", same: "as it is", twice: "third"})
    assert (saved.written, saved.backups) == (5, 3)
    assert take_back(saved) == {}
    assert {file.name for file in tmp_path.iterdir()} == {
        "old.txt", "odd.txt", "same.txt", "twice.txt", "twice.txt.bak", "twice.txt.bak2",
    }  # fmt: skip
    assert {file: file.read_bytes() for file in before} == before | {same: b"as it is\n"}
    assert save({old: "dog"}).backups == 1  # and it can be saved again


def test_what_somebody_changed_since_the_save_is_left_alone_and_named(tmp_path: Path):
    mine, theirs, gone, lost = (tmp_path / f"{name}.txt" for name in ("mine", "theirs", "gone", "lost"))
    for file in (mine, theirs, gone, lost):
        file.write_text("cat")
    saved = save(dict.fromkeys((mine, theirs, gone, lost), "dog"))
    theirs.write_text("from elsewhere")
    gone.unlink()
    (tmp_path / "lost.txt.bak").unlink()
    left = take_back(saved)
    assert left == {
        theirs: "has been changed since, and is left as it is",
        gone: "has been changed since, and is left as it is",
        lost: "cannot be restored: No such file or directory",
    }
    assert [file.read_text().strip() for file in (mine, theirs, lost)] == ["cat", "from elsewhere", "dog"]
    assert not gone.exists()
