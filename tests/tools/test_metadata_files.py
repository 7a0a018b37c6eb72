"""Metadata files of sd-scripts: gathered from caption files, and cleaned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from engine.failure import Failure
from engine.tools.metadata_clean import clean_caption, clean_tags
from tests.tools.running import run_job, settings_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "inner/c"):
        (tmp_path / "img" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "img" / f"{name}.png")
        (tmp_path / "img" / f"{name}.txt").write_text(f"caption of {name}\n")
    return tmp_path / "img"


@pytest.mark.shows("merge-captions.train_data_dir", "merge-captions.kind", "merge-captions.out_json",
                   "merge-captions.in_json", "merge-captions.caption_extension")  # fmt: skip
def test_captions_and_then_tags_are_gathered_in_one_file(folder: Path, tmp_path: Path):
    out = tmp_path / "meta.json"
    given = {"train_data_dir": str(folder), "out_json": str(out)}
    assert run_job("merge-captions", **given)[0] == ("done", 2)
    assert json.loads(out.read_text()) == {"a": {"caption": "caption of a"}, "b": {"caption": "caption of b"}}
    (folder / "a.tags").write_text("1girl, smile")
    _, told = run_job("merge-captions", **given, kind="tags", caption_extension=".tags")
    assert json.loads(out.read_text())["a"] == {"caption": "caption of a", "tags": "1girl, smile"}
    assert [item.why for item in told.left_out] == ["has no caption file"]
    assert json.loads((tmp_path / "meta.json.bak").read_text())["a"] == {"caption": "caption of a"}
    other = tmp_path / "other.json"
    run_job("merge-captions", train_data_dir=str(folder / "inner"), out_json=str(other), in_json=str(out))
    assert json.loads(other.read_text()).keys() == {"a", "b", "c"}


@pytest.mark.shows("merge-captions.full_path", "merge-captions.recursive")
def test_pictures_of_several_folders_are_known_by_their_paths(folder: Path, tmp_path: Path):
    given = {"train_data_dir": str(folder), "out_json": str(tmp_path / "meta.json"), "recursive": True}
    assert [f.option for f in settings_of("merge-captions", **given).failures()] == ["full_path"]
    run_job("merge-captions", **given, full_path=True)
    keys = json.loads((tmp_path / "meta.json").read_text()).keys()
    assert keys == {str(folder / "a.png"), str(folder / "b.png"), str(folder / "inner/c.png")}


@pytest.mark.parametrize("content", ["no json", "[1]", '{"a": 1}', ""])
def test_a_file_that_is_no_metadata_file_is_not_written_over(folder: Path, tmp_path: Path, content: str):
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(Failure, match=r"meta\.json is"):
        run_job("merge-captions", train_data_dir=str(folder), out_json=str(tmp_path / "meta.json"))
    assert (tmp_path / "meta.json").read_text() == content


@pytest.mark.parametrize(
    ("tags", "clean"),  # as sd-scripts' clean_captions_and_tags.py gives them
    [
        ("2girls, blue_hair, red_hair, long_hair, white_shirt, shirt, ^_^, rating:safe",
         "2girls, long hair, white shirt, ^_^"),
        ("1girl, blue_hair, red_hair, hair_ornament, flower_hair_ornament",
         "1girl, blue hair, red hair, flower hair ornament"),
        ("2girls, long_hair, short_hair, blue_hair, bob_cut", "2girls, blue hair, bob cut"),
        ("2boys, blue_eyes, sleeveless, long_sleeves, braid, ahoge", "2boys, blue eyes"),
        ("", ""),
    ],
)  # fmt: skip
def test_tags_are_cleaned_as_sd_scripts_cleans_them(tags: str, clean: str):
    assert clean_tags(tags) == clean


def test_captions_of_drawn_people_are_said_plainly():
    assert clean_caption("a cartoon woman and a young lady") == "a girl and a girl"
    assert clean_caption("anime anime anime girl") == "girl"


@pytest.mark.shows("clean-captions.in_json", "clean-captions.out_json")
def test_a_metadata_file_is_cleaned_and_its_other_entries_kept(tmp_path: Path):
    before = {"a": {"tags": "long_hair", "caption": "a woman", "train_resolution": [512, 512]}, "b": {}}
    (tmp_path / "in.json").write_text(json.dumps(before))
    outcome, told = run_job("clean-captions", in_json=str(tmp_path / "in.json"), out_json=str(tmp_path / "out.json"))
    assert outcome == ("done", 1)
    after = {"a": {"tags": "long hair", "caption": "a girl", "train_resolution": [512, 512]}, "b": {}}
    assert json.loads((tmp_path / "out.json").read_text()) == after
    assert [item.why for item in told.left_out] == ["has neither tags nor a caption"]
    assert json.loads((tmp_path / "in.json").read_text()) == before
