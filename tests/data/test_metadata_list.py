"""Pictures and captions of fine-tuning: a folder, or a list as sd-scripts' preparation writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.data.items import Item, captions_of
from engine.data.steps import plan_of
from engine.data.training_set import training_set
from engine.failure import Failure
from engine.settings.convert import convert
from engine.settings.files import parse_settings
from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.training import TrainingSettings, training_options
from tests.pictures import draw_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpg", "c.d.webp"):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    (tmp_path / "a.txt").write_text("from beside")
    return tmp_path


def items(folder: Path, data: Any, name: str = "meta_cap.json", **changes: Any) -> list[Item]:
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    values = {"in_json": str(folder / name), "image_folder": str(folder), **changes}
    return training_set(TrainingSettings(method="finetune").with_values(values)).items


@pytest.mark.shows("in_json", "dataset_repeats")
def test_pictures_are_listed_with_caption_and_tags(folder: Path):
    found = items(
        folder,
        {
            "a": {"caption": "a cat", "tags": "red, blue", "train_resolution": [512, 512]},
            "b.jpg": {"tags": "red"},
            str(folder / "c.d.webp"): {"caption": "whole path", "tags": None},
        },
        dataset_repeats=3,
        epoch=2,
    )
    assert [item.picture.name for item in found] == ["a.png", "b.jpg", "c.d.webp"]
    assert captions_of(found) == ["a cat,red, blue", "red", "whole path"]
    assert plan_of(found, TrainingSettings().with_values({"epoch": 2})).steps == 3 * 3 * 2


def test_a_name_may_lack_its_ending_and_lie_beside_the_list(folder: Path):
    found = items(folder, {"c.d": {}, "b": {}}, image_folder="")
    assert [item.picture.name for item in found] == ["c.d.webp", "b.jpg"]
    assert captions_of(found) == ["", ""]


def test_with_wildcards_the_tags_stand_behind_each_line(folder: Path):
    data = {"a": {"caption": "one\n\ntwo", "tags": "x\ny"}, "b": {"caption": "one\ntwo"}}
    found = items(folder, data, enable_wildcard=True, caption_separator=".")
    assert captions_of(found) == [
        "one.x.y\ntwo.x.y",
        "one\ntwo",
    ]


def test_a_line_a_picture_is_another_form_of_it(folder: Path):
    lines = '{"image_path": "a", "caption": "first", "image_size": [16, 16]}\n\n{"image_path": "b", "tags": "t"}\n'
    assert captions_of(items(folder, lines, "meta.jsonl")) == ["first", "t"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"gone": {}, "away": {}, "a": {}}, 'lists pictures that do not exist: "gone", "away"'),
        ({str(number): {} for number in range(8)}, "and 3 more"),
        ({"a\0b": {}}, "that do not exist"),
        ({"": {}}, "that do not exist"),
        ({"a": {"caption": 3}}, 'caption and tags of "a" must be text'),
        ({"a": "a cat"}, "is not a list of pictures"),
        ([1], "is not a list of pictures"),
        ({}, "lists no pictures"),
        ('{"a": ', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_what_is_wrong_with_a_list_is_told(folder: Path, data: Any, sentence: str):
    with pytest.raises(Failure, match=sentence) as failure:
        items(folder, data)
    assert failure.value.option == "in_json"


def test_a_list_that_cannot_be_read_is_told(folder: Path):
    with pytest.raises(Failure, match="line 1 has no"):
        items(folder, "[]", "meta.jsonl")
    (folder / "bytes.json").write_bytes(b'{"\xff": 1}')
    for name, why in (("gone.json", "cannot be read"), ("bytes.json", "not UTF-8")):
        settings = TrainingSettings(method="finetune").with_values({"in_json": str(folder / name)})
        with pytest.raises(Failure, match=why):
            training_set(settings)


def test_fine_tuning_learns_from_a_folder_without_sub_folders(folder: Path):
    settings = TrainingSettings(method="finetune").with_values({"train_data_dir": str(folder), "dataset_repeats": 4})
    found = training_set(settings).items
    assert [(item.picture.name, item.repeats) for item in found] == [("a.png", 4), ("b.jpg", 4), ("c.d.webp", 4)]
    assert captions_of(found) == ["from beside", "", ""]
    # Other methods do not.
    assert not training_set(settings.model_copy(update={"method": "lora"})).items


def test_fine_tuning_learns_from_numbered_sub_folders_where_there_are_such(folder: Path):
    draw_pictures(folder / "3_cat", 2)
    settings = TrainingSettings(method="finetune").with_values({"train_data_dir": str(folder), "dataset_repeats": 4})
    assert [item.repeats for item in training_set(settings).items] == [3, 3]


def test_the_image_folder_of_kohyas_fine_tuning_tab_is_the_one_that_every_tab_has(folder: Path):
    """One field on the page, filled from whichever key a file has; kohya_ss finds it again under its own."""
    loaded = from_kohya({"image_folder": str(folder), "dataset_repeats": "4"}).settings.for_method("finetune")
    assert loaded.folders.train_data_dir == str(folder)
    assert len(training_set(loaded).items) == 3
    elsewhere = loaded.with_values({"train_data_dir": "/elsewhere"})
    assert to_kohya(elsewhere)["image_folder"] == "/elsewhere"
    assert not loaded.with_values({"train_data_dir": ""}).folders.train_data_dir
    assert from_kohya({"image_folder": "a", "train_data_dir": "b"}).settings.folders.train_data_dir == "b"
    shown = [item for item in training_options() if item.acts and item.is_for("finetune")]
    assert [item.name for item in shown if item.short_label == "Image folder"] == ["train_data_dir"]


A_LORAS = """
[model_arguments]
pretrained_model_name_or_path = "sd_xl_base_1.0.safetensors"
[dataset_arguments]
in_json = "{list}"
train_data_dir = "{folder}"
dataset_repeats = 1
resolution = "1024,1024"
[additional_network_arguments]
network_module = "networks.lora"
network_args = []
[training_arguments]
max_train_epochs = 4
"""


@pytest.mark.parametrize("name", ["meta_lat.json", "meta_cap.jsonl"])
@pytest.mark.parametrize("as_command", [False, True])
def test_a_lora_learns_from_the_list_that_its_file_names(folder: Path, tmp_path: Path, name: str, as_command: bool):
    """As sd-scripts' train_network.py does: names begin in the image folder, each picture once."""
    entries = {"a": {"caption": "a cat"}, "b": {"tags": "red"}}
    lines = "\n".join(json.dumps({"image_path": key, **entry}) for key, entry in entries.items())
    (tmp_path / name).write_text(json.dumps(entries) if name.endswith(".json") else lines)
    text = A_LORAS.format(list=tmp_path / name, folder=folder)
    if as_command:
        text = f"accelerate launch train_network.py --in_json {tmp_path / name} --train_data_dir {folder}"
    settings = parse_settings(text).settings
    assert settings.method == "lora"
    found = training_set(settings)
    assert captions_of(found.items) == ["a cat", "red"]
    assert [item.repeats for item in found.items] == [1, 1]
    back = parse_settings(convert(settings, "sd-scripts-command").text).settings
    assert back.whole_model.in_json == str(tmp_path / name)
    with pytest.raises(Failure, match=r"is not there|cannot be read"):
        training_set(settings.with_values({"in_json": "gone.json"}))
