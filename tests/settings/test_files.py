"""kohya_ss's JSON and our own: what people bring opens, and nothing of it is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.settings.files import (
    LARGEST_FILE,
    SettingsFileError,
    from_kohya,
    parse_settings,
    read_settings,
    save_kohya,
    to_kohya,
)
from engine.settings.training import TrainingSettings, training_options

OLD_TUTORIAL = {
    # The dialect of the first kohya_ss versions: numbers as text, "" for unset, retired keys.
    "pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5",
    "v2": False,
    "train_data_dir": "D:/lora/img",
    "output_dir": "D:/lora/model",
    "max_resolution": "512,512",
    "learning_rate": "0.0001",
    "lr_scheduler": "constant",
    "lr_warmup": "0",
    "train_batch_size": 2,
    "epoch": "3",
    "mixed_precision": "bf16",
    "save_precision": "bf16",
    "seed": "1234",
    "use_8bit_adam": True,
    "xformers": True,
    "prior_loss_weight": 1.0,
    "text_encoder_lr": "5e-5",
    "unet_lr": "0.0001",
    "network_dim": 128,
    "network_alpha": 64,
    "clip_skip": 2,
    "gradient_accumulation_steps": 1.0,
    "output_name": "portrait",
    "max_train_epochs": "",
    "lr_scheduler_num_cycles": "",
    "lr_scheduler_power": "",
    "keep_tokens": "0",
    "max_token_length": "75",
    "a_key_of_tomorrow": [1, 2],
}


def test_an_old_file_has_its_values_where_it_had_them():
    loaded = from_kohya(OLD_TUTORIAL)
    s = loaded.settings
    assert loaded.bad == {}
    assert s.optimizer.learning_rate == 1e-4
    assert s.optimizer.text_encoder_lr == 5e-5
    assert s.optimizer.train_batch_size == 2
    assert s.optimizer.epoch == 3
    assert s.optimizer.lr_scheduler == "constant"
    assert s.optimizer.lr_warmup == 0
    assert s.optimizer.seed == 1234
    assert s.optimizer.optimizer == "AdamW8bit"
    assert s.optimizer.gradient_accumulation_steps == 1
    assert (s.network.network_dim, s.network.network_alpha) == (128, 64)
    assert s.objective.clip_skip == 2
    assert s.hardware.mixed_precision == "bf16"
    assert s.folders.output_name == "portrait"


def test_empty_text_means_unset():
    s = from_kohya(OLD_TUTORIAL).settings
    fresh = TrainingSettings()
    assert s.optimizer.max_train_epochs == fresh.optimizer.max_train_epochs
    assert s.optimizer.lr_scheduler_power == fresh.optimizer.lr_scheduler_power


def test_keys_without_effect_are_listed_and_still_there_after_saving(tmp_path: Path):
    loaded = from_kohya(OLD_TUTORIAL)
    assert set(loaded.not_acted_on) == {"xformers", "prior_loss_weight", "max_token_length", "a_key_of_tomorrow"}
    assert "a_key_of_tomorrow ([1, 2])" in loaded.report()[0]

    save_kohya(loaded.settings, tmp_path / "again.json")
    written = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))
    assert set(OLD_TUTORIAL) <= set(written)
    for key in ("xformers", "v2", "keep_tokens", "a_key_of_tomorrow", "use_8bit_adam"):
        assert written[key] == OLD_TUTORIAL[key]


def test_saved_and_loaded_again_the_settings_are_the_same(tmp_path: Path):
    settings = from_kohya(OLD_TUTORIAL).settings
    save_kohya(settings, tmp_path / "a.json")
    assert read_settings(tmp_path / "a.json").settings == settings


def test_our_own_dialect_opens_too(tmp_path: Path):
    settings = TrainingSettings().with_values({"output_name": "own", "network_dim": 16})
    (tmp_path / "run.json").write_text(settings.model_dump_json(), encoding="utf-8")
    assert read_settings(tmp_path / "run.json").settings == settings


def test_todays_key_wins_over_a_retired_one():
    both = {"use_8bit_adam": True, "optimizer": "AdamW"}
    assert from_kohya(both).settings.optimizer.optimizer == "AdamW"
    assert from_kohya(dict(reversed(both.items()))).settings.optimizer.optimizer == "AdamW"
    assert from_kohya({"use_8bit_adam": False}).settings.optimizer.optimizer == "AdamW"


def test_a_wrong_value_is_reported_and_the_others_are_taken():
    loaded = from_kohya({"network_dim": "wide", "epoch": 4})
    assert loaded.bad == {"network_dim": "Network Rank (Dimension) is 'wide'; it takes a whole number (1 to 512)."}
    assert loaded.settings.optimizer.epoch == 4
    assert loaded.settings.network.network_dim == TrainingSettings().network.network_dim


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"epoch": 1', "cut off or edited wrongly"),
        (b"[1, 2]", "holds a list, not a settings object"),
        (b'"text"', "holds a str"),
        (b"\xff\xfe\x00\x81", "not a text file"),
        (b"", "is not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"source_model": {}, "network": {"network_dim": "x"}}', "network → network_dim"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: bytes, sentence: str):
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    with pytest.raises(SettingsFileError) as refused:
        read_settings(file)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


def test_a_huge_file_a_folder_and_a_missing_file_are_refused(tmp_path: Path):
    huge = tmp_path / "huge.json"
    with huge.open("wb") as stream:
        stream.truncate(LARGEST_FILE * 12)
    with pytest.raises(SettingsFileError, match="48 MB"):
        read_settings(huge)
    with pytest.raises(SettingsFileError, match="is a folder"):
        read_settings(tmp_path)
    with pytest.raises(SettingsFileError, match="There is no file"):
        read_settings(tmp_path / "none.json")


def test_a_file_with_a_byte_order_mark_opens():
    """Notepad writes one."""
    assert parse_settings("\ufeff{}".encode().decode("utf-8-sig")).settings == TrainingSettings()


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "kept.json"
    save_kohya(TrainingSettings(), file)
    before = file.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(SettingsFileError, match="No space"):
        save_kohya(TrainingSettings().with_values({"epoch": 9}), file)
    assert file.read_bytes() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([item.kohya for item in training_options()]) | st.text(), json_values))
def test_no_dictionary_however_odd_breaks_the_reader(data: dict):
    loaded = from_kohya(data)
    assert from_kohya(to_kohya(loaded.settings)).settings == loaded.settings
