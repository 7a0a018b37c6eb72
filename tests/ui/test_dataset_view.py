"""The Dataset page as HTML: what files are called and captions say is never markup, and never breaks the page."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from engine.data.looks import look
from engine.data.survey import Survey, survey
from engine.jobs import UTILITIES
from engine.settings.training import TrainingSettings
from engine.tools.caption_drafts import Drafts
from ui import dataset_view as view
from ui.dataset_editor import CaptionEditor
from ui.dataset_state import PAGE, Hand
from ui.dataset_tab import offered

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def surveyed(tmp_path: Path) -> Survey:
    return survey(described(tmp_path))


def described(tmp_path: Path) -> TrainingSettings:
    folder = tmp_path / "img" / f"2_{EVIL}"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (100, 60)).save(folder / f"{EVIL}{number}.png")
        (folder / f"{EVIL}{number}.txt").write_text(f"{EVIL}, tag{number}")
    return TrainingSettings().with_values(
        {"train_data_dir": str(tmp_path / "img"), "max_resolution": "64,64", "enable_bucket": False}
    )


def test_nothing_foreign_is_markup(surveyed: Survey):
    looks = {one.picture: look(one.picture) for one in surveyed.seen}
    changes = [(surveyed.seen[0], EVIL, f"{EVIL}, more")]
    for html in (
        view.overview(surveyed), view.buckets(surveyed), view.grid(surveyed, [0, 1], looks, {}, 0),
        view.tags([(EVIL, 2)], EVIL), view.preview(changes, 3),
    ):  # fmt: skip
        assert "<img src=x" not in html
    assert view.grid(surveyed, [0, 1], looks, {}, 0).count("<img src=") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_names_that_are_no_text_can_be_shown(tmp_path: Path):
    settings = described(tmp_path)
    odd = os.fsencode(tmp_path) + b"/img/2_x\xff"
    os.mkdir(odd)
    Image.new("RGB", (70, 70)).save(tmp_path / "plain.png")
    os.rename(tmp_path / "plain.png", odd + b"/\xfe.png")
    (Path(os.fsdecode(odd)) / "empty.png").touch()
    surveyed = survey(settings)
    html = view.overview(surveyed) + view.grid(surveyed, range(len(surveyed.seen)), {}, {}, -1)
    json.dumps(html, ensure_ascii=False).encode()


def test_the_crop_is_drawn_where_it_is(surveyed: Survey):
    # 100 × 60 is scaled to 107 × 64, of which 64 × 64 in the middle stay: 20.1 % go on either side
    grid = view.grid(surveyed, [0], {one.picture: look(one.picture) for one in surveyed.seen}, {}, -1)
    assert 'style="inset:0.0% 20.1%"' in grid
    assert "40% cropped away" in grid


def test_scores_are_shown_on_each_picture_and_summed_up(tmp_path: Path):
    settings = described(tmp_path)
    folder = next((tmp_path / "img").iterdir())
    assert "aesthetic score" not in view.overview(survey(settings))
    for number, score in ((0, "5.25"), (1, "6.75\n")):
        (folder / f"{EVIL}{number}.score").write_text(score)
    surveyed = survey(settings)
    assert "2 of 3 pictures have an aesthetic score: 5.25 to 6.75, 6.00 on average." in view.overview(surveyed)
    assert view.grid(surveyed, [0], {}, {}, -1).count("score 5.25") == 1
    assert "score " not in view.grid(surveyed, [2], {}, {}, -1)
    (folder / f"{EVIL}2.score").write_text(EVIL)
    assert "which is not a number" in view.grid(survey(settings), [2], {}, {}, -1)
    assert "<img src=x" not in view.grid(survey(settings), [2], {}, {}, -1)


def test_pages_are_counted_to_the_last_picture():
    hand = Hand(found=tuple(range(2 * PAGE + 5)))
    assert hand.pages == 3
    assert hand.page(99) == list(range(2 * PAGE, 2 * PAGE + 5))
    assert hand.page(0) == list(range(PAGE))
    assert hand.page_of(PAGE) == 2
    assert hand.beside(2 * PAGE + 4, 1) == 2 * PAGE + 4
    assert Hand().page(1) == []


def test_what_is_typed_goes_to_the_picture_that_was_shown_beside_it(tmp_path: Path):
    editor = CaptionEditor()
    hand = Hand().surveyed(described(tmp_path))
    first = hand.survey.seen[0]
    shown = {"index": 0, "picture": str(first.picture), "caption": first.text}
    assert editor.taken(hand, shown, "mine").drafts.texts == {first.file: "mine"}
    assert editor.taken(hand, shown, f" {first.text} ") is hand
    assert editor.taken(hand, shown | {"index": 1}, "mine") is hand  # another survey: it is no longer the same picture


def test_saving_keeps_filters_and_what_could_not_be_written(tmp_path: Path):
    hand = Hand().surveyed(described(tmp_path))
    files = [one.file for one in hand.survey.seen if one.file]
    files[1].unlink()
    files[1].mkdir()
    hand = Hand(hand.source, hand.survey, {}, (2, 1), hand.sieve, Drafts()).with_captions(dict.fromkeys(files, "new"))
    hand, saved = hand.saved()
    assert saved.written == 2
    assert hand.found == (2, 1)
    assert hand.drafts.texts == {files[1]: "new"}
    assert hand.survey.seen[0].text == "new"


def test_one_save_after_another_is_undone_with_the_changes_before_it(tmp_path: Path):
    start = Hand().surveyed(described(tmp_path))
    files = [one.file for one in start.survey.seen if one.file]
    texts = [file.read_text() if file.exists() else None for file in files]
    first, _ = start.with_captions({files[0]: "one"}).saved()
    second, _ = first.with_captions({files[0]: "two", files[1]: "three"}).saved()
    assert not second.drafts.texts
    back, count, left = second.unsaved()
    assert (count, left) == (2, {})
    assert back.drafts.texts == {files[0]: "two", files[1]: "three"}
    assert back.survey.seen[0].text == "one"
    back = replace(back, drafts=back.drafts.undone())
    assert not back.drafts.texts
    back, count, _ = back.unsaved()
    assert (count, back.saves) == (1, ())
    assert [file.read_text() if file.exists() else None for file in files] == texts


def test_a_utility_begins_with_the_pictures_that_are_shown(tmp_path: Path):
    settings, offer = described(tmp_path), UTILITIES["prepare-dataset"].settings_class().for_pictures
    shown = str(settings.folders.train_data_dir)
    with_class = settings.with_values({"reg_data_dir": shown})
    assert offered(offer, Hand()) == {}
    assert offered(offer, Hand().surveyed(with_class)) == {
        "train_data_dir": shown, "reg_data_dir": shown, "destination": f"{shown}-prepared",
    }  # fmt: skip
    assert offered(offer, Hand().surveyed(with_class, shown))["reg_data_dir"] == ""  # of that folder alone
    for job in ("prepare-dataset", "group-images"):  # nothing stands beside the root of a disk
        assert str(Path("/")) in UTILITIES[job].settings_class().for_pictures(Path("/")).values()
    config = tmp_path / "d.toml"
    config.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{next(Path(shown).iterdir())}'\n")
    assert offered(offer, Hand().surveyed(settings.with_values({"dataset_config": str(config)}))) == {}


def test_buckets_tell_of_what_is_left_out_and_of_crops_that_are_not_as_drawn(tmp_path: Path):
    settings = described(tmp_path)
    folder = next((tmp_path / "img").iterdir())
    (folder / "empty.png").touch()
    assert "1 of 4 pictures are left out" in view.buckets(survey(settings))
    faces, anywhere = {"face_crop_aug_range": "2,4"}, {"random_crop": True}
    assert "cropped around it" in view.buckets(survey(settings.with_values(faces | anywhere)))
    assert "but a random position" in view.buckets(survey(settings.with_values(anywhere)))
    assert "not as shown" not in view.buckets(survey(settings.with_values(faces | {"enable_bucket": True})))
