"""The examples load without a complaint, say nothing that is not followed, and come to the steps that are promised."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.data.steps import plan_of
from engine.data.training_set import training_set
from engine.settings.files import read_settings
from engine.settings.kohya_json import to_kohya
from engine.settings.training import training_options
from tests.pictures import draw_pictures

FOLDER = Path(__file__).parents[1] / "examples"
FILES = sorted(FOLDER.glob("*.json"))
OPTIONS = {item.kohya.key: item for item in training_options()}
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_there_is_one_for_each_line_of_the_table():
    assert re.findall(r"^\| \[(.+?)\]", README, re.MULTILINE) == [
        "sd15-lora.json", "sdxl-lora-low-memory.json", "flux-lora.json"
    ]  # fmt: skip
    assert {file.name for file in FILES} == set(re.findall(r"\((\S+\.json)\)", README))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_key_is_kohyas_and_is_followed(file: Path):
    data = json.loads(file.read_text(encoding="utf-8"))
    loaded = read_settings(file)
    assert loaded.report() == []
    settings = loaded.settings_by("lora")
    for key, value in data.items():
        item = OPTIONS[key]
        assert item.kohya.has_it, f"{key} is no key of kohya_ss's"
        assert item.applies(settings.values()), f"{key} says nothing for this model"
        assert item.standing_of(value).kind == "acts", key
    written = to_kohya(settings)
    assert {key: written[key] for key in data} == data


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_steps_are_those_that_the_readme_promises(file: Path, tmp_path: Path):
    draw_pictures(tmp_path / "my-cat" / "img" / "10_skscat cat", 15)
    settings = read_settings(file).settings_by("lora")
    settings = settings.with_values({"train_data_dir": str(tmp_path / settings.folders.train_data_dir)})
    line = next(line for line in README.splitlines() if line.startswith(f"| [{file.name}]"))
    promised = int(line.split("|")[3].replace(",", ""))
    assert plan_of(training_set(settings).items, settings).steps == promised
