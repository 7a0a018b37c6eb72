"""Captions that are not found, or of which less is read than stands there, are told before a start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.check.check import check
from engine.check.mend import mended
from engine.check.problem import Problem
from engine.settings.training import TrainingSettings
from tests.pictures import draw_pictures


@pytest.fixture
def folder(settings: TrainingSettings) -> Path:
    """Of five pictures with captions."""
    return Path(settings.folders.train_data_dir) / "2_shapes"


def about_captions(settings: TrainingSettings, **changes: Any) -> list[Problem]:
    return [
        problem for problem in check(settings.with_values(changes)).problems if problem.option == "caption_extension"
    ]


class TestCaptionsOfAnotherEnding:
    @pytest.mark.parametrize("typed", [".caption", "", "caption", ".cap", ".TXT", "*.txt", ".txt.txt"])
    def test_where_none_is_found_there_is_no_start_and_a_click_mends_it(self, settings: TrainingSettings, typed: str):
        (problem,) = about_captions(settings, caption_extension=typed)
        assert problem.blocking
        assert 'next to the pictures there are captions that end in ".txt": "2_shapes/00.png"' in problem.what
        after = mended(problem, settings.with_values({"caption_extension": typed}))
        assert after.dataset.caption_extension == ".txt"
        assert check(after).problems == []

    @pytest.mark.parametrize("theirs", [".caption", ".TXT", ".Caption", ".png.txt"])
    def test_whatever_theirs_is(self, settings: TrainingSettings, folder: Path, theirs: str):
        for caption in folder.glob("*.txt"):
            caption.rename(caption.with_suffix(theirs))
        (problem,) = about_captions(settings)
        assert problem.blocking
        after = mended(problem, settings)
        assert after.dataset.caption_extension == theirs
        assert check(after).problems == []

    def test_captions_of_the_whole_picture_of_faces_that_were_cut_out_count(
        self, settings: TrainingSettings, folder: Path
    ):
        for picture in folder.glob("*.png"):
            picture.rename(picture.with_stem(f"{picture.stem}_10_20_30_40"))
        assert about_captions(settings) == []
        assert about_captions(settings, caption_extension=".caption")[0].blocking

    def test_a_caption_is_no_other_pictures_of_a_like_name(self, settings: TrainingSettings, folder: Path):
        for file in folder.glob("0[1-4].*"):
            file.unlink()
        (folder / "00.png").rename(folder / "a.png")
        (folder / "00.txt").unlink()
        draw_pictures(folder / "more", 1)
        (folder / "more" / "00.png").rename(folder / "a.b.png")
        (folder / "more" / "00.txt").rename(folder / "a.b.caption")
        (problem,) = about_captions(settings)
        assert problem.what.endswith('captions that end in ".caption": "2_shapes/a.b.png".')

    def test_an_ending_that_no_caption_has_is_taken_as_meant(self, settings: TrainingSettings):
        (problem,) = about_captions(settings, caption_extension=".none")
        assert not problem.blocking
        assert problem.what.startswith('5 pictures have no caption that ends in ".none"')

    def test_a_few_of_another_ending_are_told(self, settings: TrainingSettings, folder: Path):
        (folder / "03.txt").rename(folder / "03.caption")
        (problem,) = about_captions(settings)
        assert not problem.blocking
        assert problem.fix == ""  # it would lose the other four
        assert '1 picture has no caption that ends in ".txt"' in problem.what
        assert '".caption": "2_shapes/03.png"' in problem.what

    @pytest.mark.parametrize("theirs", [".caption", ".TXT", ".cap"])
    @pytest.mark.parametrize("count", [1, 2])
    def test_where_most_end_as_asked_the_few_are_to_be_renamed(
        self, settings: TrainingSettings, folder: Path, theirs: str, count: int
    ):
        """To look for the others' ending would lose more captions than it finds."""
        for caption in sorted(folder.glob("*.txt"))[:count]:
            caption.rename(caption.with_suffix(theirs))
        (problem,) = about_captions(settings)
        assert problem.mend == 'Rename those captions so that they end in ".txt".'

    def test_where_most_end_otherwise_their_ending_is_proposed(self, settings: TrainingSettings, folder: Path):
        for caption in sorted(folder.glob("*.txt"))[:3]:
            caption.rename(caption.with_suffix(".caption"))
        (problem,) = about_captions(settings)
        assert problem.mend == "Enter .caption."
        assert problem.fix

    def test_those_of_regularisation_pictures_do_not_make_it_right(self, settings: TrainingSettings, tmp_path: Path):
        draw_pictures(tmp_path / "reg" / "1_shapes", 2)
        for caption in (tmp_path / "reg" / "1_shapes").glob("*.txt"):
            caption.rename(caption.with_suffix(".caption"))
        values = {"reg_data_dir": str(tmp_path / "reg")}
        (told,) = about_captions(settings, **values)
        assert not told.blocking
        assert told.fix == ""
        assert about_captions(settings, **values, caption_extension=".caption")[0].blocking

    def test_in_a_dataset_config_the_way_there_is_its_own_key(self, settings: TrainingSettings, tmp_path: Path):
        text = "[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = 'img/2_shapes'\n"
        (tmp_path / "d.toml").write_text(text + "caption_extension = '.caption'\n")
        (problem,) = about_captions(settings, dataset_config=str(tmp_path / "d.toml"))
        assert problem.blocking
        assert problem.fix == ""
        assert 'Set caption_extension = ".txt" in the dataset config.' in problem.mend

    def test_what_lies_beside_and_is_no_caption_is_none(self, settings: TrainingSettings, folder: Path):
        for name in ("00.txt.bak", "00.npz", ".00.txt", "notes.txt", "0.txt"):
            (folder / name).write_text("x")
        for caption in folder.glob("0[0-4].txt"):
            caption.unlink()
        assert [problem.what for problem in about_captions(settings) if "end" in problem.what] == []


def test_regularisation_pictures_without_captions_are_no_reason_to_tell_anything(
    settings: TrainingSettings, folder: Path, tmp_path: Path
):
    """The folder's words describe both; no picture has a caption file, so nobody is told that others have one."""
    for caption in folder.glob("*.txt"):
        caption.unlink()
    draw_pictures(tmp_path / "reg" / "1_shapes", 2, caption=False)
    assert check(settings.with_values({"reg_data_dir": str(tmp_path / "reg")})).problems == []


class TestWhatIsReadOfThem:
    @pytest.mark.parametrize("text", [b"", b"\n", b"  \r\n\t\n", b"\xef\xbb\xbf"])
    def test_empty_ones_are_counted(self, settings: TrainingSettings, folder: Path, text: bytes):
        for name in ("01", "04"):
            (folder / f"{name}.txt").write_bytes(text)
        (problem,) = about_captions(settings)
        assert problem.what == '2 captions are empty: "2_shapes/01.txt", "2_shapes/04.txt".'
        assert not problem.blocking

    @pytest.mark.parametrize("text", ["\na red circle", " \n\na red circle\n", "\r\na red circle\r\nblue\r\n"])
    def test_an_empty_first_line_is_told(self, settings: TrainingSettings, folder: Path, text: str):
        (folder / "02.txt").write_text(text, newline="")
        (problem,) = about_captions(settings)
        assert problem.what == (
            '1 caption begins with an empty line, and only the first line is read: "2_shapes/02.txt".'
        )
        assert about_captions(settings, enable_wildcard=True) == []  # which leaves empty lines out

    @pytest.mark.parametrize("text", ["a red circle\nof paper", "a\n\nb", "one\r\ntwo\r\nthree\r\n"])
    def test_further_lines_are_told_where_they_are_not_read(self, settings: TrainingSettings, folder: Path, text: str):
        for name in ("00", "01", "02"):
            (folder / f"{name}.txt").write_text(text, newline="")
        (problem,) = about_captions(settings)
        assert problem.what.startswith("3 captions have more than one line, and only the first is read:")
        assert about_captions(settings, enable_wildcard=True) == []

    def test_a_line_break_at_the_end_is_no_further_line(self, settings: TrainingSettings, folder: Path):
        (folder / "00.txt").write_text("a red circle\n\n \n")
        assert about_captions(settings) == []
