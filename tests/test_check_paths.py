"""Settings files go from hand to hand: a path of another system is named before anything is made of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.begin import begin, begin_utility
from engine.check.check import check
from engine.check.utility import check_utility
from engine.jobs import JOBS
from engine.runs.folder import all_runs
from engine.settings import paths
from engine.settings.paths import system_of, usable_path, with_whole_paths
from engine.settings.training import TrainingSettings, training_options

# As they stand in the settings files of tutorials.
WINDOWS = [
    "C:/Users/berna/Downloads/martini/img",
    "D:\\lycoris\\sdxl\\bride.safetensors",
    "\\\\nas\\training\\img",
    "e:/",
    "%USERPROFILE%\\Pictures",
    "~\\Pictures",
    ".\\train\\img",
    '"C:\\AI\\SAMPLE IMAGES\\img"',
]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the program was started."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("text", WINDOWS)
@pytest.mark.skipif(os.name == "nt", reason="these are paths of this system")
def test_a_path_of_windows_is_one_elsewhere(text: str):
    assert system_of(text) == "Windows"


@pytest.mark.parametrize("text", ["/home/me/img", "/content/drive/MyDrive/out", "/workspace/out", "/Users/me/out"])
def test_a_path_of_unix_is_one_on_windows(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paths, "THIS_SYSTEM", "Windows")
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert system_of(text)
    assert not any(
        system_of(own) for own in ("C:/Users/me", "D:\\img", "\\\\nas\\img", "img\\cats", ".\\img", "//nas/x")
    )
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    assert not system_of(text)  # "/data" is the drive's own folder there


@pytest.mark.parametrize("text", ["/content/drive/MyDrive/out", "/kaggle/working", "/Volumes/Photos/img"])
def test_a_path_of_a_rented_machine_is_named_where_its_folder_is_not_here(text: str):
    top = "/" + text.split("/")[1]
    assert bool(system_of(text)) == (not os.path.exists(top))


@pytest.mark.parametrize("text", ["", "img", "./img", "~/img", "/data/my\\ folder", "owner/model", "a:b", "über/img"])
def test_paths_of_this_machine_are_left_alone(text: str):
    assert not system_of(text)


def test_a_backslash_in_a_name_that_is_there_is_no_sign_of_windows(empty: Path):
    (empty / "black\\white").mkdir()
    assert not system_of("black\\white")
    assert system_of("black\\white", empty.parent) == "Windows"


FOLLOWED = [
    item
    for item in training_options()
    if item.acts and item.widget in ("path", "folder") and item.is_for("lora") and not item.applies_when
]


@pytest.mark.parametrize("item", FOLLOWED, ids=lambda item: item.name)
@pytest.mark.parametrize("text", ["C:/Users/me/x", "D:\\x\\y", "\\\\server\\share\\x"])
def test_no_run_starts_on_a_path_of_windows_and_nothing_is_created(
    settings: TrainingSettings, item, text: str, empty: Path
):
    settings = settings.with_values({item.name: text})
    told = {problem.option: problem for problem in check(settings).problems}[item.name]
    assert told.blocking
    here = f"which is a Windows path, but this is {paths.THIS_SYSTEM}: it comes from another machine."
    assert told.what == f'{item.short_label} is "{text}", {here}'
    assert told.mend == "Enter the path on this machine."
    assert begin(settings)[1] is None
    assert list(all_runs()) == []
    assert list(empty.iterdir()) == []
    assert with_whole_paths(settings).values()[item.name] == text


def test_each_field_of_a_foreign_file_has_one_sentence_beside_what_else_is_wrong(settings: TrainingSettings):
    foreign = {name: f"C:/AI/{name}" for name in ("train_data_dir", "output_dir", "logging_dir", "reg_data_dir")}
    found = check(settings.with_values({**foreign, "learning_rate": 0, "unet_lr": 0, "text_encoder_lr": 0})).problems
    assert [p.option for p in found[:4]] == [item.name for item in training_options() if item.name in foreign]
    assert "learning_rate" in {p.option for p in found}
    assert len({p.option for p in found}) == len(found)


def test_fields_that_the_run_does_not_follow_are_no_obstacle(settings: TrainingSettings):
    foreign = {"clip_l": "C:/m/clip_l.safetensors", "flux_vae": "C:/m/ae.safetensors", "mask_dir": "C:/masks"}
    assert check(settings.with_values(foreign)).can_start
    assert not check(settings.with_values({**foreign, "masked_loss": True})).can_start
    alone = settings.with_values({"network_weights": "C:/m/lora.safetensors"})
    assert not check(alone).can_start
    assert "network_weights" not in {p.option for p in check(alone.for_method("dreambooth")).problems}


@pytest.mark.parametrize("job", [name for name in JOBS if name != "train"])
def test_utilities_refuse_them_too(job: str, empty: Path, tmp_path: Path):
    settings = JOBS[job].settings_class()()
    named = [item for item in settings.options() if item.widget in ("path", "folder", "file")]
    for item in named:
        told = settings.with_values({item.name: "C:\\Users\\me\\x"})
        if item.applies(told.values()):
            problems = {problem.option: problem.what for problem in check_utility(told).problems}
            assert "a Windows path" in problems[item.name]
        assert begin_utility(job, told)[1] is None
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("named", ["C:/img", "D:\\img\\cats", "\\\\nas\\img", "cats\\10_cat"])
def test_a_dataset_config_of_windows_is_named_with_its_place(settings: TrainingSettings, tmp_path: Path, named: str):
    file = tmp_path / "data.toml"
    file.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{named}'\n", encoding="utf-8")
    (problem,) = check(settings.with_values({"dataset_config": str(file)})).problems
    assert problem.option == "dataset_config"
    assert problem.what.startswith(f'data.toml, dataset 1, subset 1: image_dir is "{named}", which is a Windows path')
    assert problem.mend == "Put the path on this machine into the file."


@pytest.mark.parametrize("name", ["meta.json", "meta.jsonl"])
@pytest.mark.parametrize("picture", ["C:/img/1.png", "D:\\img\\1.png", "img\\1.png"])
def test_a_list_of_pictures_of_windows_is_named(settings: TrainingSettings, tmp_path: Path, name: str, picture: str):
    listed = {picture: {"caption": "a cat"}}
    text = json.dumps({"image_path": picture, "caption": "a cat"} if name.endswith("l") else listed)
    (tmp_path / name).write_text(text, encoding="utf-8")
    fine = settings.for_method("finetune").with_values({"in_json": str(tmp_path / name), "train_data_dir": ""})
    (problem,) = [p for p in check(fine).problems if p.option == "in_json"]
    assert (
        problem.what == f'{name} lists pictures by Windows paths, such as "{picture}": it comes from another machine.'
    )
    assert "use only file names in it" in problem.mend


@pytest.mark.parametrize("text", ["C:/x.json", "D:\\x.json", "\\\\nas\\x"])
def test_what_is_opened_at_once_says_the_same(text: str):
    with pytest.raises(ValueError, match=r"Settings file is .* a Windows path.*Enter the path on this machine"):
        usable_path("Settings file", text)
    assert usable_path("Settings file", " '/x/y.json' ".replace("'", '"')) == Path("/x/y.json")
