"""Pictures that are chosen by a click are those that a run learns from."""

from __future__ import annotations

from pathlib import Path

from engine.data.training_set import described_by, learning_from, plan_here
from engine.jobs import UTILITIES
from engine.settings.training import TrainingSettings
from tests.pictures import draw_pictures


def test_a_list_or_dataset_config_that_would_count_in_their_place_is_cleared_and_named(tmp_path: Path):
    draw_pictures(tmp_path / "img" / "2_shapes", 3)
    settings = TrainingSettings().with_values({"dataset_config": "/d.toml", "in_json": "/m.json", "epoch": 7})
    chosen, cleared = learning_from(settings, {"train_data_dir": str(tmp_path / "img")})
    assert described_by(chosen) == "train_data_dir"
    assert plan_here(chosen).pictures == 6
    assert chosen.values()["epoch"] == 7
    assert cleared == ["Dataset config file was cleared; it was /d.toml.", "Metadata file was cleared; it was /m.json."]
    assert learning_from(chosen, {"train_data_dir": "/other"})[1] == []


def test_the_list_that_prepare_latents_writes_counts(tmp_path: Path):
    made = (
        UTILITIES["prepare-latents"]
        .settings_class()()
        .with_values({"train_data_dir": "/pictures", "out_json": "/pictures/meta_lat.json"})
    )
    before = TrainingSettings().with_values({"in_json": "/older.json"})
    chosen, cleared = learning_from(before, made.to_train_on())
    assert (described_by(chosen), chosen.values()["in_json"]) == ("in_json", "/pictures/meta_lat.json")
    assert (chosen.values()["train_data_dir"], cleared) == ("/pictures", [])


def test_prepared_regularisation_pictures_come_along_and_others_stay(tmp_path: Path):
    prepare = UTILITIES["prepare-dataset"].settings_class()().with_values({"destination": "/made"})
    before = TrainingSettings().with_values({"reg_data_dir": "/class"})
    assert learning_from(before, prepare.to_train_on())[0].values()["reg_data_dir"] == "/class"
    with_class = prepare.with_values({"reg_data_dir": "/people"})
    values = learning_from(before, with_class.to_train_on())[0].values()
    assert (values["train_data_dir"], values["reg_data_dir"]) == (str(Path("/made/img")), str(Path("/made/reg")))
