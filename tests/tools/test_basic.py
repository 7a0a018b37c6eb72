"""Basic captioning: text, prefix, postfix, find and replace, over a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.tools.basic import Text
from tests.tools.running import run_job, settings_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (4, 4)).save(tmp_path / "img" / f"{name}.png")
    (tmp_path / "img" / "a.txt").write_text("a cat, a cat\n")
    return tmp_path / "img"


@pytest.mark.parametrize(
    ("values", "a", "b"),
    [
        ({"caption_text": "sks"}, "a cat, a cat\n", "sks\n"),
        ({"caption_text": "sks", "overwrite": True}, "sks\n", "sks\n"),
        ({"prefix": "sks,", "overwrite": True}, "sks, a cat, a cat\n", "sks,\n"),
        ({"postfix": ", by me", "overwrite": True}, "a cat, a cat , by me\n", ", by me\n"),
        ({"prefix": "sks"}, "a cat, a cat\n", "sks\n"),
        ({"find_text": "cat", "replace_text": "dog", "overwrite": True}, "a dog, a dog\n", None),
        ({"find_text": ", a cat", "overwrite": True}, "a cat\n", None),
        ({"find_text": "a cat, a cat", "overwrite": True}, "\n", None),
        # kohya_ss replaces at the last, in the prefix too
        ({"prefix": "my cat:", "find_text": "cat", "replace_text": "dog", "overwrite": True},
         "my dog: a dog, a dog\n", "my dog:\n"),
    ],
)  # fmt: skip
@pytest.mark.shows("caption-basic.caption_text", "caption-basic.find_text", "caption-basic.replace_text")
def test_captions_are_written_and_changed(folder: Path, values: dict, a: str, b: str | None):
    run_job("caption-basic", train_data_dir=str(folder), **values)
    assert (folder / "a.txt").read_text() == a
    assert (folder / "b.txt").exists() == (b is not None)
    assert b is None or (folder / "b.txt").read_text() == b
    assert (folder / "a.txt.bak").exists() == (a != "a cat, a cat\n")


def test_what_needs_no_change_is_left_alone(folder: Path):
    before = (folder / "a.txt").stat().st_mtime_ns
    _, told = run_job("caption-basic", train_data_dir=str(folder), find_text="dog", overwrite=True)
    assert (folder / "a.txt").stat().st_mtime_ns == before
    assert told.results[0].text == "0 captions written, 3 already as they should be."


def test_a_run_that_goes_on_puts_no_prefix_twice(folder: Path):
    given = {"train_data_dir": str(folder), "prefix": "sks", "overwrite": True}
    _, told = run_job("caption-basic", **given)
    outcome, _ = run_job("caption-basic", told.run, **given)
    assert outcome == ("done", 0)
    assert (folder / "a.txt").read_text() == "sks a cat, a cat\n"


@pytest.mark.parametrize(
    ("values", "option"),
    [({}, "caption_text"), ({"find_text": "x"}, "overwrite"), ({"overwrite": True}, "caption_text")],
)
def test_what_would_do_nothing_is_refused(folder: Path, values: dict, option: str):
    settings = settings_of("caption-basic", train_data_dir=str(folder), **values)
    assert [failure.option for failure in settings.failures()] == [option]


def test_a_caption_that_is_not_utf8_is_left_as_it_is(folder: Path):
    (folder / "c.txt").write_bytes(b"caf\xe9")
    _, told = run_job("caption-basic", train_data_dir=str(folder), prefix="sks", overwrite=True)
    assert (folder / "c.txt").read_bytes() == b"caf\xe9"
    assert [item.why for item in told.left_out] == ["its caption is not UTF-8 text; save it as UTF-8"]


@given(caption=st.text(), find=st.text(min_size=1), replace=st.text())
def test_replacing_leaves_nothing_that_was_looked_for_unless_it_is_put_in_anew(caption: str, find: str, replace: str):
    changed = Text(find_text=find, replace_text=replace).changed(caption)
    assert changed == replace.join(caption.split(find)).strip()
    assert Text().changed(caption) == caption.strip()
