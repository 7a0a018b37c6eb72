"""Files of another kind are refused, and odd ones of the known kinds are read as far as they go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, read_settings, save_kohya
from engine.settings.kohya_json import to_kohya
from engine.settings.training import TrainingSettings


@pytest.mark.parametrize(
    "content", ["", "# only a remark\n", '[project]\nname = "page"\n[tool.ruff]\nline-length = 120\n']
)
def test_a_toml_without_a_setting_is_refused(tmp_path: Path, content: str):
    (tmp_path / "other.toml").write_text(content)
    with pytest.raises(SettingsFileError, match=r"other\.toml contains no known setting"):
        read_settings(tmp_path / "other.toml")


@pytest.mark.parametrize("text", ['network_module = "networks.lora"\n', "validation_split = 0.1\n"])
def test_a_toml_with_an_argument_that_no_option_has_is_a_settings_file(text: str):
    parse_settings(text, "a.toml")


def test_an_object_with_nothing_in_it_means_the_defaults():
    assert parse_settings("{}", "a.json").settings == TrainingSettings()


@pytest.mark.parametrize(
    "text", ['{"name": "page", "seed-note": 1}', '{"model_type": "clip_text_model", "layers": 12}']
)
def test_another_programs_file_is_not_replaced(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SettingsFileError, match="was not replaced"):
        save_kohya(TrainingSettings(), tmp_path / "config.json")
    assert (tmp_path / "config.json").read_text() == text


def test_our_own_dialect_is_read_as_leniently_as_kohyas():
    own = {
        "method": "diffusion", "source_model": {}, "optimizer": 5,
        "network": {"network_dim": "wide", "new_trick": [1], "network_alpha": 4},
        "kohya_extra": {"mine": 1, "max_data_loader_n_workers": "many"},
    }  # fmt: skip
    loaded = parse_settings(json.dumps(own))
    assert loaded.settings.network.network_alpha == 4
    assert set(loaded.bad) == {"network_dim", "optimizer", "max_data_loader_n_workers"}
    assert loaded.bad["network_dim"] == "Network Rank (Dimension) is 'wide'; it takes a whole number (1 to 100000)."
    assert loaded.unknown == {"method": "diffusion", "mine": 1, "network.new_trick": [1]}
    written = to_kohya(loaded.settings)
    assert (written["network_dim"], written["optimizer"], written["network.new_trick"]) == ("wide", 5, [1])
    assert written["max_data_loader_n_workers"] == "many"
    assert parse_settings(loaded.settings.model_dump_json()).settings == loaded.settings


def test_a_table_in_a_values_place_is_a_wrong_value_and_no_section():
    loaded = parse_settings("resolution = {w = 1}\nseed = {a = 1}\n[optimizer]\noptimizer_type = 'Lion'\n", "a.toml")
    assert loaded.bad["seed"].startswith("Seed is {'a': 1}; it takes a whole number")
    assert set(loaded.bad) == {"seed", "max_resolution"}
    assert loaded.settings.optimizer.optimizer == "Lion"
    assert (to_kohya(loaded.settings)["seed"], loaded.unknown) == ({"a": 1}, {})
