"""The pictures around the one that is captioned."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.runs.folder import RunFolder
from tests.tools.running import run_job, settings_of
from ui.caption_grid import AT_ONCE, grid
from ui.manual_captioning import ManualCaptioning


@pytest.fixture
def thousand(tmp_path: Path) -> Path:
    """A thousand pictures, most of them one file under many names."""
    folder = tmp_path / "img"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "0000.png")
    for number in range(1, 1000):
        os.link(folder / "0000.png", folder / f"{number:04}.png")
        (folder / f"{number:04}.txt").write_text(f"caption {number}")
    return folder


def test_a_page_of_a_thousand_pictures_is_small_and_soon_there(thousand: Path):
    pictures = sorted(str(picture) for picture in thousand.glob("*.png"))
    begin = time.monotonic()
    html = grid(pictures, ".txt", 30)
    assert time.monotonic() - begin < 2
    assert html.count("<figure") == html.count("<img") == AT_ONCE
    assert len(html) < 20_000
    assert 'class="chosen" data-picture="30"' in html
    assert "25 to 48 of 1000" in html
    assert "caption 47" in html
    assert "caption 48<" not in html


def test_what_stands_in_captions_and_names_is_no_markup(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / '<b>"a".png')
    (tmp_path / '<b>"a".txt').write_text('"><script>alert(1)</script>')
    (tmp_path / "broken.png").write_bytes(b"")
    html = grid([str(picture) for picture in sorted(tmp_path.glob("*.png"))], ".txt", 0)
    assert "<b>&lt;b&gt;&quot;a&quot;.png</b>" in html
    assert "<script" not in html
    assert "the file is empty" in html


def test_a_captioners_pictures_are_shown_when_its_run_has_ended(tmp_path: Path):
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_text("before")
    values = {"train_data_dir": str(tmp_path), "caption_text": "a cat"}
    settings = settings_of("caption-basic", **values)
    run = RunFolder.create("caption-basic", settings.model_dump_json(), "cats")
    run_job("caption-basic", run, **values)
    page = ManualCaptioning()
    shown = {"picture": str(tmp_path / "a.png"), "caption": "before", "place": 0, "extension": ".txt"}
    filled = page._of_run(f"{run.name} 5", [shown["picture"]], shown, "typed just now")
    assert filled[:3] == [str(tmp_path), ".txt", False]
    assert (tmp_path / "a.txt").read_text() == "typed just now\n"
    assert filled[7] == "typed just now"
    assert "a cat" in filled[-1]
    other = RunFolder.create("train", "{}", "no captioner")
    for ended in ("", "gone 1", f"{other.name} 1"):
        assert all(isinstance(value, dict) for value in page._of_run(ended, [], None, ""))  # all stays as it is
