"""What a dataset config, a list or captions lead to is looked at before a start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.check.check import check
from engine.check.problem import Checked, Problem
from engine.settings.training import TrainingSettings
from tests.pictures import draw_pictures

SIMPLE = "[[datasets]]\nresolution = 64\nbatch_size = 2\n[[datasets.subsets]]\nimage_dir = 'img/2_shapes'\n"


def checked(settings: TrainingSettings, tmp_path: Path, text: str = SIMPLE, **changes: Any) -> Checked:
    (tmp_path / "d.toml").write_text(text, encoding="utf-8")
    return check(settings.with_values({"dataset_config": str(tmp_path / "d.toml"), **changes}))


def about(found: Checked, option: str) -> list[Problem]:
    return [problem for problem in found.problems if problem.option == option]


def test_a_dataset_config_stands_in_place_of_the_folders(settings: TrainingSettings, tmp_path: Path):
    found = checked(settings, tmp_path, train_data_dir="", reg_data_dir="/gone")
    assert found.problems == []
    assert found.plan.arithmetic() == "5 (pictures × repeats) ÷ batch 2 × 1 epoch = 3 steps"


def test_what_is_wrong_with_it_is_said_beside_its_field(settings: TrainingSettings, tmp_path: Path):
    found = checked(settings, tmp_path, SIMPLE.replace("2_shapes", "gone"))
    assert not found.can_start
    assert "subset 1: image_dir" in about(found, "dataset_config")[0].what
    assert (
        "cannot be read"
        in about(check(settings.with_values({"dataset_config": "/gone.toml"})), "dataset_config")[0].what
    )


def test_its_notes_do_not_hinder_the_start(settings: TrainingSettings, tmp_path: Path):
    found = checked(settings, tmp_path, SIMPLE + "cache_info = true\n")
    assert found.can_start
    assert [problem.what for problem in found.problems] == ["d.toml: cache_info has no effect."]


def test_the_sizes_of_every_dataset_are_looked_at(settings: TrainingSettings, tmp_path: Path):
    found = checked(settings, tmp_path, SIMPLE + SIMPLE.replace("64", "[100, 40]"), max_resolution="33")
    assert [problem.what for problem in about(found, "dataset_config")] == ["Max resolution 100,40 is too small."]
    assert about(found, "max_resolution") == []


def test_a_broken_picture_is_found_there_too(settings: TrainingSettings, tmp_path: Path):
    (tmp_path / "img" / "2_shapes" / "00.png").write_bytes(b"no picture")
    assert "2_shapes/00.png" in about(checked(settings, tmp_path), "dataset_config")[0].what


def test_captions_that_cannot_be_read_are_one_list(settings: TrainingSettings, tmp_path: Path):
    folder = tmp_path / "img" / "2_shapes"
    for name in ("00.txt", "03.txt"):
        (folder / name).write_bytes(b"caf\xe9")
    found = about(checked(settings, tmp_path), "caption_extension")
    assert [problem.what for problem in found] == [
        'Captions that cannot be read: "2_shapes/00.txt", "2_shapes/03.txt".'
    ]
    assert found[0].blocking


def test_pictures_without_a_caption_are_told(settings: TrainingSettings, tmp_path: Path):
    for name in ("00", "01"):
        (tmp_path / "img" / "2_shapes" / f"{name}.txt").unlink()
    silent = about(checked(settings, tmp_path), "caption_extension")[0]
    assert silent.what == '2 pictures have no caption: "2_shapes/00.png", "2_shapes/01.png".'
    assert not silent.blocking
    described = about(check(settings), "caption_extension")[0]
    assert "2 pictures have no caption file, while others have one" in described.what


def test_a_folder_whose_words_describe_all_needs_no_caption_files(settings: TrainingSettings, tmp_path: Path):
    draw_pictures(tmp_path / "words" / "1_cat", 2, caption=False)
    assert check(settings.with_values({"train_data_dir": str(tmp_path / "words")})).problems == []


def test_fine_tuning_by_a_list_is_looked_at(settings: TrainingSettings, tmp_path: Path):
    (tmp_path / "meta.json").write_text(json.dumps({str(tmp_path / "img/2_shapes/00.png"): {"caption": "a"}}))
    values = {"in_json": str(tmp_path / "meta.json"), "train_data_dir": "", "dataset_repeats": 3}
    fine = settings.model_copy(update={"method": "finetune"}).with_values(values)
    assert check(fine).plan.steps == 3
    assert not about(check(fine), "train_data_dir")
    assert about(check(fine.with_values({"in_json": "/gone.json"})), "in_json")[0].blocking


def test_weights_in_captions_that_a_model_does_not_read_are_told(settings: TrainingSettings):
    flux = settings.with_values({"flux1_checkbox": True, "weighted_captions": True})
    assert "takes the brackets literally" in about(check(flux), "weighted_captions")[0].what
    assert not about(check(settings.with_values({"weighted_captions": True})), "weighted_captions")
