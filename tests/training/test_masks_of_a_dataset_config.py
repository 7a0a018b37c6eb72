"""conditioning_data_dir of a dataset config: the folder of a subset's masks, for training with masked loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.check.check import check
from engine.data.training_set import training_set
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.settings.files import parse_settings
from engine.settings.training import TrainingSettings
from engine.training.report import Report
from engine.training.train import train
from tests.pictures import draw_pictures

TWO = """
[[datasets]]
resolution = 64
  [[datasets.subsets]]
  image_dir = "img/2_shapes"
  conditioning_data_dir = "masks of shapes"
  [[datasets.subsets]]
  image_dir = "img/1_more"
  conditioning_data_dir = 'more masks'
"""


@pytest.fixture
def described(settings: TrainingSettings, tmp_path: Path) -> TrainingSettings:
    """Two subsets of five and two pictures, each with a folder of black masks."""
    draw_pictures(tmp_path / "img" / "1_more", 2)
    for folder, count in (("masks of shapes", 5), ("more masks", 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            Image.new("L", (64, 64), 0).save(tmp_path / folder / f"{number:02d}.jpg")
    (tmp_path / "d.toml").write_text(TWO)
    return settings.with_values({"dataset_config": str(tmp_path / "d.toml"), "masked_loss": True})


def losses(settings: TrainingSettings) -> list[float]:
    run = RunFolder.create("train", settings.model_dump_json(), settings.folders.output_name)
    report = Report(run.writer())
    outcome, _ = train(settings, run, report)
    assert outcome == "done"
    report.flush()
    return [step.loss for step in History(run).update().steps]


def test_every_subset_has_its_own(described: TrainingSettings, tmp_path: Path):
    folders = {item.picture.parent.name: item.subset.pictures.mask_dir for item in training_set(described).items}
    assert folders == {
        "2_shapes": str(tmp_path / "masks of shapes"),
        "1_more": str(tmp_path / "more masks"),
    }
    assert check(described).problems == []


def test_what_is_black_in_them_is_not_learned(described: TrainingSettings, tmp_path: Path):
    assert losses(described) == [0.0] * 7
    Image.new("L", (64, 64), 255).save(tmp_path / "more masks" / "01.jpg")
    assert sorted(loss > 0 for loss in losses(described.with_values({"overwrite": True}))) == [False] * 6 + [True]


def test_a_picture_without_one_is_told(described: TrainingSettings, tmp_path: Path):
    (tmp_path / "more masks" / "00.jpg").unlink()
    (problem,) = check(described).problems
    assert problem.what == '1 picture has no mask and is learned in full: "1_more/00.png".'


def test_a_mask_that_cannot_be_read_is_told(described: TrainingSettings, tmp_path: Path):
    (tmp_path / "masks of shapes" / "03.jpg").write_bytes(b"no")
    (problem,) = check(described).problems
    assert problem.what == 'Masks that cannot be read: "masks of shapes/03.jpg".'


def test_without_masked_loss_they_do_not_count_which_is_said(described: TrainingSettings):
    (problem,) = check(described.with_values({"masked_loss": False})).problems
    assert problem.what == "d.toml: conditioning_data_dir only has an effect with Masked loss, which is off."
    assert not problem.blocking


@pytest.mark.parametrize("value", ["'gone'", '"img/2_shapes/00.png"', "7"])
def test_one_that_is_no_folder_is_named(described: TrainingSettings, tmp_path: Path, value: str):
    (tmp_path / "d.toml").write_text(TWO.replace("'more masks'", value))
    with pytest.raises(Failure, match="subset 2: conditioning_data_dir"):
        training_set(described)


@pytest.mark.parametrize(
    ("first", "second", "mask_dir"),
    [
        ("/masks", "/masks", "/masks"),
        ("/masks/3_cat", "/masks/1_dog", "/masks"),
        ("C:/masks/3_cat", "C:/masks/1_dog", "C:\\masks"),
    ],
)
def test_as_settings_it_is_the_mask_folder_where_one_can_hold_them_all(first: str, second: str, mask_dir: str):
    loaded = parse_settings(as_toml(first, second), "d.toml")
    assert loaded.settings.dataset.mask_dir == mask_dir
    assert loaded.settings.kohya_extra == {}


@pytest.mark.parametrize(("first", "second"), [("/a", "/b"), ("/masks/3_cat", "/other/1_dog"), ("/a", "")])
def test_where_none_can_the_config_is_kept_whole(first: str, second: str):
    loaded = parse_settings(as_toml(first, second), "d.toml")
    assert loaded.settings.dataset.mask_dir == ""
    assert "conditioning_data_dir differs between the image folders" in " ".join(loaded.report())
    assert loaded.settings.kohya_extra


def as_toml(first: str, second: str) -> str:
    return "[[datasets]]\n" + "".join(
        f"[[datasets.subsets]]\nimage_dir = '/img/{name}'\nnum_repeats = {name[0]}\nconditioning_data_dir = '{masks}'\n"
        for name, masks in (("3_cat", first), ("1_dog", second))
    )
