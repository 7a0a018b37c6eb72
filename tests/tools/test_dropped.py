"""Folders that were dropped on the page: kept whole, in a folder of their own, whatever their files are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.folders import scan
from engine.failure import Failure
from engine.tools.dropped import keep_dropped, pictures_root, usable


@pytest.fixture
def uploaded(tmp_path: Path) -> Path:
    """A file where uploads lie; what it holds is not looked at."""
    file = tmp_path / "uploads" / "one.png"
    file.parent.mkdir()
    file.write_bytes(b"a picture")
    return file


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_pictures_and_captions_keep_their_sub_folders_and_the_rest_is_named(tmp_path: Path, uploaded: Path):
    names = ["img/10_cat/a.png", "img/10_cat/a.txt", "img/5_dog/b.JPG", "img/5_dog/b.caption", "img/.DS_Store",
             "img/10_cat/a.score"]  # fmt: skip
    kept = keep_dropped([*((name, uploaded) for name in names), ("img/notes.pdf", None)], tmp_path / "pictures")
    assert kept.folder == tmp_path / "pictures" / "img"
    assert files(kept.folder) == ["10_cat/a.png", "10_cat/a.score", "10_cat/a.txt", "5_dog/b.JPG", "5_dog/b.caption"]
    assert [concept.repeats for concept in scan(kept.folder).concepts] == [10, 5]
    assert (kept.folder / "10_cat" / "a.png").read_bytes() == b"a picture"
    head, more = kept.report()
    assert head == f"2 pictures and 2 captions are now in {kept.folder}."
    assert more == ["Left out, because they are neither pictures nor captions (.txt, .caption): img/notes.pdf."]


def test_what_was_dropped_before_is_never_replaced(tmp_path: Path, uploaded: Path):
    folders = [keep_dropped([("cat/a.png", uploaded)], tmp_path / "pictures").folder.name for _ in range(3)]
    assert folders == ["cat", "cat-2", "cat-3"]
    assert files(tmp_path / "pictures") == ["cat-2/a.png", "cat-3/a.png", "cat/a.png"]


def test_a_concept_stays_a_sub_folder_so_that_its_repeats_and_words_stay_too(tmp_path: Path, uploaded: Path):
    for name in ("sks cat", "sks cat-2"):
        kept = keep_dropped([("10_sks cat/a.png", uploaded)], tmp_path)
        assert kept.folder.name == name
        concept = scan(kept.folder).concepts[0]
        assert (concept.repeats, concept.words) == (10, "sks cat")


def test_loose_files_and_several_folders_go_into_one(tmp_path: Path, uploaded: Path):
    kept = keep_dropped([("a.png", uploaded), ("one/a.png", uploaded), ("two/a.png", uploaded)], tmp_path)
    assert kept.folder.name == "dropped"
    assert files(kept.folder) == ["a.png", "one/a.png", "two/a.png"]


HOSTILE = [
    "../../a.png", "cat/../../../b.png", "/etc/c.png", "C:/d.png", "C:\\Windows\\e.png", "\\\\server\\share\\f.png",
    "cat/..\\..\\g.png", "cat//h.png", "con/nul.png", "cat/i\0.png", "cat/\ud800.png", "cat/" + "語" * 100 + ".png",
    "cat/ .png", "cat/.. /j.png", "cat/COM1.txt", "cat/k.png:stream.png", ".png", "cat/.hidden/l.png",
    "a" * 199 + ". long/m.png",
]  # fmt: skip


def test_no_name_leads_out_of_the_folder(tmp_path: Path, uploaded: Path):
    root = tmp_path / "root"
    kept = keep_dropped([("cat/good.png", uploaded), *((name, uploaded) for name in HOSTILE)], root)
    assert [entry.name for entry in root.iterdir()] == [kept.folder.name]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["root", "uploads"]
    kept_files = files(kept.folder)
    assert "cat/good.png" in kept_files
    assert "_con/_nul.png" in kept_files
    assert "C_/d.png" in kept_files
    for file in kept_files:
        assert all(usable(part) == part for part in file.split("/")), file
    kept.report()[0].encode()


@settings(max_examples=50)
@given(st.text())
def test_a_usable_name_is_one_name_on_every_system_and_stays_as_it_is(text: str):
    name = usable(text)
    assert name == usable(name)
    assert not set(name) & set('<>:"/\\|?*\0')
    assert name.rstrip(". ") == name
    assert len(name.encode()) <= 255
    assert name.partition(".")[0].casefold() not in ("con", "nul", "com1", "lpt9")


def test_names_that_some_systems_take_for_the_same_are_told(tmp_path: Path, uploaded: Path):
    kept = keep_dropped([("cat/a.png", uploaded), ("cat/A.png", uploaded), ("cat/a?.png", uploaded),
                         ("cat/a_.png", uploaded)], tmp_path)  # fmt: skip
    assert files(kept.folder) == ["a.png", "a_.png"]
    assert kept.clashing == ("cat/A.png", "cat/a_.png")
    assert "another file has the same name: cat/A.png, cat/a_.png." in kept.report()[1][0]


def test_many_others_are_counted(tmp_path: Path, uploaded: Path):
    kept = keep_dropped([("c/a.png", uploaded), *((f"c/{n}.npz", None) for n in range(9))], tmp_path)
    assert kept.report()[1][0].endswith("c/0.npz, c/1.npz, c/2.npz, c/3.npz, c/4.npz and 4 more.")
    assert kept.report()[0].startswith("1 picture is now in")


def test_without_pictures_nothing_is_made(tmp_path: Path, uploaded: Path):
    with pytest.raises(Failure, match=r"Found no pictures \(\.png.* among what was dropped"):
        keep_dropped([("cat/a.txt", uploaded)], tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_what_cannot_be_copied_whole_leaves_nothing(tmp_path: Path, uploaded: Path):
    with pytest.raises(Failure, match=r"cannot be saved to .*: No such file") as caught:
        keep_dropped([("cat/a.png", uploaded), ("cat/b.png", tmp_path / "gone.png")], tmp_path / "pictures")
    assert "drop them again" in caught.value.mend
    assert list((tmp_path / "pictures").iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, uploaded: Path, monkeypatch: pytest.MonkeyPatch):
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(Failure, match=r"saved to .*: the disk is full: "):
        keep_dropped([("cat/a.png", uploaded)], tmp_path / "pictures")
    assert list((tmp_path / "pictures").iterdir()) == []


def test_they_lie_beside_the_runs(runs: Path):
    assert pictures_root() == runs.with_name("pictures")
