"""What may be chosen from the server's disk, and what is not shown of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from ui import picker
from ui.picker import _asked, listing, roots


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shown; beside it lies what is not."""
    shown = tmp_path / "shown"
    (shown / "img" / "10_cat").mkdir(parents=True)
    (shown / "Model.safetensors").write_bytes(b"")
    (shown / ".hidden").mkdir()
    (tmp_path / "secret" / "inside").mkdir(parents=True)
    (shown / "out").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("DARKROOM_ROOTS", str(shown))
    return shown


def test_a_folder_shows_its_folders_and_files(root: Path):
    told = listing(str(root))
    assert told == {"folder": str(root), "up": "", "folders": ["img"], "files": ["Model.safetensors"], "problem": ""}
    inner = listing(str(root / "img" / "10_cat"))
    assert (inner["folder"], inner["up"]) == (str(root / "img" / "10_cat"), str(root / "img"))


@pytest.mark.parametrize("path", ["Model.safetensors", "not there/at all", "img/../img", "img/"])
def test_around_a_file_or_what_is_not_there_yet_the_nearest_folder_is_shown(root: Path, path: str):
    assert listing(str(root / path))["folder"] in (str(root), str(root / "img"))


def test_nothing_outside_the_roots_is_shown(root: Path):
    outside = ["..", "../secret", "out", "out/inside", "img/../../secret"]
    for path in [*(str(root / one) for one in outside), "/", "/etc", "a\0b", "C:/x", "\\\\host\\share", "relative"]:
        told = listing(path)
        assert (told["folder"], told["folders"], told["files"]) == ("", [str(root)], []), path
        assert told["problem"]


def test_an_empty_field_begins_with_the_roots(root: Path):
    assert listing(" ") == {"folder": "", "up": "", "folders": [str(root)], "files": [], "problem": ""}


@pytest.mark.parametrize("told", [None, [], {}, {"folder": None}, {"folder": ["a"]}, {"folder": "x" * 100_000}, "text"])
def test_whatever_a_browser_sends_is_answered(root: Path, told: Any):
    assert _asked(gr.EventData(None, told))["folders"] == [str(root)]


def test_of_very_many_entries_some_are_shown_and_that_is_said(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picker, "MOST_SHOWN", 3)
    for number in range(5):
        (root / "img" / f"{number}.png").write_bytes(b"")
    told = listing(str(root / "img"))
    assert len(told["folders"]) + len(told["files"]) == 3
    assert told["problem"] == "Only 3 of 6 entries are shown."


def test_the_usual_roots_are_the_users_own_folder_and_where_runs_are(runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DARKROOM_ROOTS", raising=False)
    assert {Path.home().resolve(), runs.parent.resolve()} <= set(roots())
    assert Path("/").resolve() not in roots() or Path.home() == Path("/")
