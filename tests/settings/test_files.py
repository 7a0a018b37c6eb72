"""kohya_ss's JSON and our own: what people bring opens, and nothing of it is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
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
from engine.settings.option import Option
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
    loaded = from_kohya(OLD_TUTORIAL | {"model_list": "custom", "flip_aug": True, "async_upload": "true"})
    assert loaded.bad == {}
    assert loaded.report() == [
        "Kept, but not supported yet (uploading to Hugging Face): Async upload (true).",
        'Kept, but with no effect here: Model list ("custom"). It records which entry was picked in kohya_ss\'s '
        "model list; here only Pretrained model name or path decides.",
        "Kept, but unknown to this version: a_key_of_tomorrow ([1, 2]).",
    ]

    save_kohya(loaded.settings, tmp_path / "again.json")
    written = json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))
    assert set(OLD_TUTORIAL) <= set(written)
    for key in ("v2", "a_key_of_tomorrow", "use_8bit_adam", "max_token_length", "train_data_dir"):
        assert written[key] == OLD_TUTORIAL[key]
    assert (written["keep_tokens"], written["flip_aug"], written["model_list"]) == (0, True, "custom")


def test_an_option_without_meaning_beside_the_others_is_not_talked_about():
    assert from_kohya({"train_t5xxl": True, "multires_noise_discount": 0}).report() == []
    assert "T5-XXL" in from_kohya({"flux1_checkbox": True, "train_t5xxl": True}).report()[0]


def test_a_secret_is_kept_and_not_shown():
    loaded = from_kohya({"huggingface_token": "hf_secret", "log_with": "wandb", "wandb_api_key": "secret"})
    assert "secret" not in " ".join(loaded.report())
    assert "Huggingface token (…)" in " ".join(loaded.report())
    assert to_kohya(loaded.settings)["huggingface_token"] == "hf_secret"


@pytest.mark.parametrize(
    ("retired", "key", "value"),
    [
        ({"use_8bit_adam": True}, "optimizer", "AdamW8bit"),
        ({"use_8bit_adam": False}, "optimizer", "AdamW"),
        ({"use_wandb": True}, "log_with", "wandb"),
        ({"use_wandb": False}, "log_with", ""),
        ({"lora_network_weights": "D:/a.safetensors"}, "network_weights", "D:/a.safetensors"),
        ({"conv_dims": "4,4"}, "conv_block_dims", "4,4"),
        ({"conv_alphas": "1,1"}, "conv_block_alphas", "1,1"),
        ({"create_caption": False}, "generate_caption_database", False),
        ({"create_buckets": False}, "generate_image_buckets", False),
        ({"xformers": True}, "xformers", "xformers"),
        ({"xformers": "False"}, "xformers", "none"),
    ],
)
def test_what_older_versions_wrote_means_what_it_meant(retired: dict, key: str, value: object):
    loaded = from_kohya(retired)
    assert to_kohya(loaded.settings)[key] == value
    assert loaded.bad == {}
    assert loaded.unknown == {}
    assert from_kohya({key: value} | retired).settings.values() == loaded.settings.values()


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-4", 1e-4), ("5e-5", 5e-5), (" 0.5 ", 0.5), ("1", 1), (".25", 0.25), ("", 1e-4), (None, 1e-4)],
)
def test_numbers_as_text_are_numbers(text: str | None, number: float):
    assert from_kohya({"learning_rate": text}).settings.optimizer.learning_rate == number


@pytest.mark.parametrize(("text", "number"), [("64.0", 64), ("1e2", 100), (64.0, 64), ("", 8), ("32 ", 32)])
def test_whole_numbers_may_be_written_with_a_point(text: object, number: int):
    assert from_kohya({"network_dim": text}).settings.network.network_dim == number


@pytest.mark.parametrize("value", [True, "True", "true", 1, "1"])
def test_switches_as_text_and_numbers_are_switches(value: object):
    loaded = from_kohya({"flip_aug": value})
    assert loaded.settings.dataset.flip_aug is True
    assert loaded.bad == {}


def test_a_number_with_a_comma_is_wrong_and_not_another_number():
    loaded = from_kohya({"unet_lr": "0,5"})
    assert list(loaded.bad) == ["unet_lr"]
    assert loaded.settings.optimizer.unet_lr == 1e-4


def test_numbers_that_kohya_writes_as_text_are_written_so():
    written = to_kohya(from_kohya({"dataset_repeats": 12, "batch_size": "3", "max_token_length": 150}).settings)
    assert (written["dataset_repeats"], written["batch_size"], written["max_token_length"]) == ("12", "3", "150")


def test_whole_numbers_stay_whole_where_kohya_has_them_so():
    written = to_kohya(from_kohya({"min_snr_gamma": 5.0, "lr_warmup": "10", "prior_loss_weight": 1}).settings)
    assert [repr(written[key]) for key in ("min_snr_gamma", "lr_warmup", "prior_loss_weight")] == ["5", "10", "1.0"]


@pytest.mark.parametrize("value", ["wide", [1], {"a": 1}, -5, "1e999"])
def test_a_wrong_value_stands_in_the_file_until_another_is_chosen(value: object):
    loaded = from_kohya({"network_dim": value})
    assert "network_dim" in loaded.bad
    assert to_kohya(loaded.settings)["network_dim"] == value
    assert to_kohya(loaded.settings.with_values({"epoch": 2}))["network_dim"] == value
    for chosen in (16, 8):  # 8 is the default
        assert to_kohya(loaded.settings.with_values({"network_dim": chosen}))["network_dim"] == chosen


def another_value(item: Option) -> st.SearchStrategy:
    """Allowed values of an option other than its default."""
    if item.kind is bool:
        return st.just(not item.default)
    if item.choices:
        return st.sampled_from([choice for choice in item.choices if choice != item.default])
    if item.kind is str:
        return st.text(min_size=1, max_size=9).filter(lambda text: text != item.default)
    least, most = item.at_least, item.at_most
    if item.kind is int:
        low, high = (None if bound is None else int(bound) for bound in (least, most))
        return st.integers(low, high).filter(lambda number: number != item.default)
    return st.floats(least, most, allow_nan=False, allow_infinity=False).filter(lambda number: number != item.default)


GROUPS = sorted({item.path[0] for item in training_options()})


@pytest.mark.parametrize("group", GROUPS)
@given(st.data())
@settings(max_examples=5, deadline=None)
def test_every_option_is_saved_under_its_key_and_comes_back(group: str, data: st.DataObject):
    # kohya_ss's second key for the image folder comes back as the first: tests/data/test_metadata_list.py
    items = [item for item in training_options() if item.path[0] == group and item.name != "image_folder"]
    values = data.draw(st.fixed_dictionaries({item.name: another_value(item) for item in items}))
    changed = TrainingSettings().with_values(values)
    assert {name: changed.values()[name] for name in values} == values
    written = json.loads(json.dumps(to_kohya(changed)))
    before = to_kohya(TrainingSettings())
    assert {key for key in written if written[key] != before[key]} == {item.kohya.key for item in items}
    loaded = from_kohya(written)
    assert loaded.bad == {}
    assert loaded.settings == changed
    assert parse_settings(changed.model_dump_json()).settings == changed


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
    assert loaded.bad == {"network_dim": "Network Rank (Dimension) is 'wide'; it takes a whole number (1 to 100000)."}
    assert loaded.settings.optimizer.epoch == 4
    assert loaded.settings.network.network_dim == TrainingSettings().network.network_dim


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"epoch": 1', "cut off or have an editing mistake"),
        (b"[1, 2]", "contains a list, not a settings object"),
        (b'"text"', "contains a text,"),
        (b"5", "contains a number,"),
        (b"null", "contains nothing,"),
        (b"\x89PNG\r\n", "not a text file"),
        (b"", "is not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"name": "page", "version": "1.0", "scripts": {}}', "contains no known setting"),
        (b'{"last_node_id": 4, "nodes": [{"id": 1}], "links": []}', "contains no known setting"),
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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", '{"epoch": 7}'), ("a.toml", "epoch = 7\n"), ("a.txt", "python -m engine train --epoch 7")],
)
def test_a_file_with_a_byte_order_mark_opens(name: str, text: str, encoding: str, tmp_path: Path):
    """Notepad writes one, and PowerShell's > writes UTF-16."""
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert read_settings(tmp_path / name).settings.optimizer.epoch == 7


def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes in folders")
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(SettingsFileError, match="a device or a pipe"):
            read_settings(path)


@pytest.mark.parametrize("text", ["", "  \n", "tensorboard --logdir x", "python extract.py --save_to b", "hello"])
def test_text_that_holds_no_settings_is_said_to_hold_none(text: str):
    with pytest.raises(SettingsFileError, match="The pasted text contains neither settings nor a training command"):
        parse_settings(text, "The pasted text")


def test_a_sentence_lists_20_keys_or_choices_and_not_more():
    said = from_kohya({f"key_{number:03}": number for number in range(1, 101)}).report()[0]
    assert "key_020 (20) and 80 more." in said
    assert "key_021" not in said
    said = from_kohya({"optimizer": "AdamW8bits"}).bad["optimizer"]
    assert "one of 26 choices, such as AdamW8bit, " in said
    assert len(said) < 150


@pytest.mark.parametrize(
    "text",
    ['{"mine": "\\ud800"}', '{"mine": ' + "[" * 60 + "]" * 60 + "}", "[" * 100_000],
    ids=["half", "deep", "endless"],
)
def test_what_could_never_be_written_again_is_not_read(text: str):
    with pytest.raises(SettingsFileError, match="nested too deeply"):
        parse_settings(text)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "kept.json"
    save_kohya(TrainingSettings(), file)
    before = file.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(SettingsFileError, match="disk is full"):
        save_kohya(TrainingSettings().with_values({"epoch": 9}), file)
    assert file.read_bytes() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([item.kohya.key for item in training_options()]) | st.text(), json_values))
def test_no_dictionary_however_odd_breaks_the_reader(data: dict):
    loaded = from_kohya(data)
    assert from_kohya(to_kohya(loaded.settings)).settings == loaded.settings
