"""sd-scripts' dataset_config, as far as one image folder can say it; the rest is told and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings.convert import convert
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, to_kohya
from engine.settings.toml_files import parse_toml
from engine.settings.training import TrainingSettings

TWO_CONCEPTS = """
[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 1

[[datasets]]
resolution = [768, 512]
batch_size = 4
enable_bucket = true
max_bucket_reso = 1024

  [[datasets.subsets]]
  image_dir = "/data/img/10_sks cat"
  class_tokens = "sks cat"
  num_repeats = 10

  [[datasets.subsets]]
  image_dir = "/data/img/2_dog"
  class_tokens = "dog"
  num_repeats = 2

  [[datasets.subsets]]
  image_dir = "/data/reg/1_cat"
  class_tokens = "cat"
  is_reg = true
"""


def test_folders_named_repeats_words_are_one_image_folder():
    loaded = parse_settings(TWO_CONCEPTS, "data.toml")
    s = loaded.settings
    assert (s.folders.train_data_dir, s.folders.reg_data_dir) == ("/data/img", "/data/reg")
    assert (s.dataset.max_resolution, s.optimizer.train_batch_size) == ("768,512", 4)
    assert (s.dataset.enable_bucket, s.dataset.max_bucket_reso) == (True, 1024)
    assert (s.captions.shuffle_caption, s.captions.keep_tokens) == (True, 1)
    assert s.kohya_extra == {}
    # What the config leaves out is not its to say.
    assert s.optimizer.lr_scheduler == TrainingSettings().optimizer.lr_scheduler


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("/data/img/2_dog", "/data/other/2_dog", "the folders are in"),
        ("/data/img/2_dog", "/data/img/dogs", "Rename /data/img/dogs to 2_dog"),
        ("num_repeats = 10", "num_repeats = 3", "Rename /data/img/10_sks cat to 3_sks cat"),
        ("num_repeats = 2\n", "num_repeats = 2\nkeep_tokens = 2\n", "keep_tokens differs between the image folders"),
        ("batch_size = 4", "batch_size = 4\nnetwork_multiplier = 0.5", "no option here for network_multiplier"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_told_and_kept(old: str, new: str, sentence: str):
    assert old in TWO_CONCEPTS
    loaded = parse_settings(TWO_CONCEPTS.replace(old, new), "data.toml")
    assert sentence in " ".join(loaded.report())
    assert "To use all of it, choose it as the Dataset config file." in loaded.report()
    assert "datasets" in to_kohya(loaded.settings)


def test_words_of_sd_scripts_alone_become_additional_parameters():
    loaded = parse_settings(TWO_CONCEPTS.replace("[general]", "[general]\ncache_info = true"), "data.toml")
    assert loaded.settings.hardware.additional_parameters == "--cache_info"
    assert "--cache_info" in " ".join(loaded.report())


@pytest.mark.parametrize(
    "text",
    [
        TWO_CONCEPTS.replace("[general]", "[general]\nalpha_mask = true"),
        "[[datasets]]\nshuffle_caption = true\n[[datasets.subsets]]\nimage_dir = '/i/3_cat'\nalpha_mask = true\n",
        "accelerate launch train_network.py --train_data_dir img --alpha_mask",
        'train_data_dir = "img"\nalpha_mask = true\n',
    ],
)
def test_alpha_mask_is_masked_loss_by_transparency(text: str):
    s = parse_settings(text).settings
    assert s.dataset.masked_loss
    assert (s.dataset.mask_dir, s.hardware.additional_parameters) == ("", "")


def test_masked_loss_by_transparency_is_written_as_alpha_mask(tmp_path: Path):
    (tmp_path / "img" / "1_cat").mkdir(parents=True)
    s = TrainingSettings().with_values({"masked_loss": True, "train_data_dir": str(tmp_path / "img")})
    for target in ("sd-scripts-command", "kohya-toml", "dataset-toml"):
        for settings, said in ((s, True), (s.with_values({"mask_dir": "masks"}), False), (TrainingSettings(), False)):
            assert ("alpha_mask" in convert(settings, target).text) is said  # type: ignore[arg-type]
    assert parse_settings(convert(s, "dataset-toml").text).settings.dataset.masked_loss


def test_alpha_mask_of_some_folders_alone_is_followed_where_the_config_is():
    text = TWO_CONCEPTS.replace("num_repeats = 2\n", "num_repeats = 2\nalpha_mask = true\n")
    assert text != TWO_CONCEPTS
    loaded = parse_settings(text, "data.toml")
    assert not loaded.settings.dataset.masked_loss
    assert (
        "alpha_mask differs between the image folders, but there is only one value for all of them here: not set."
        in loaded.report()
    )
    assert "To use all of it, choose it as the Dataset config file." in loaded.report()


def test_windows_folders_are_told_apart_on_any_machine():
    text = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'D:\\lora\\img\\3_cat'\nnum_repeats = 3\n"
    assert parse_settings(text, "data.toml").settings.folders.train_data_dir == "D:\\lora\\img"


def test_a_folder_beside_the_listed_ones_is_told(tmp_path: Path):
    for name in ("1_cat", "5_secret"):
        (tmp_path / name).mkdir()
    text = f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{tmp_path / '1_cat'}'\n"
    assert "also contains 5_secret" in " ".join(parse_settings(text, "data.toml").report())


def test_the_folders_that_are_there_are_written_and_come_back(tmp_path: Path):
    for name in ("10_sks cat", "2_dog", "notes", "0_off"):
        (tmp_path / "img" / name).mkdir(parents=True)
    s = TrainingSettings().with_values(
        {"train_data_dir": str(tmp_path / "img"), "max_resolution": "640", "flip_aug": True, "enable_bucket": False,
         "face_crop_aug_range": "2.0,4.5"}
    )  # fmt: skip
    converted = convert(s, "dataset-toml")
    assert converted.notes == []
    # Two numbers, as sd-scripts' schema wants them.
    assert parse_toml(converted.text, "data.toml")["general"]["face_crop_aug_range"] == [2, 4.5]
    again = parse_settings(converted.text, "data.toml")
    assert again.settings == s
    assert again.report() == []


def test_what_a_dataset_config_does_not_say_is_listed(tmp_path: Path):
    converted = convert(TrainingSettings().with_values({"train_data_dir": "/gone", "network_dim": 64}), "dataset-toml")
    assert converted.notes == [
        "/gone cannot be read on this machine, so its sub-folders are missing.",
        "No image folder is listed: it needs a sub-folder named REPEATS_WORDS.",
        "Not said by a dataset config: Network Rank (Dimension) (64).",
    ]
    with pytest.raises(SettingsFileError, match="Max resolution is 'wide'"):
        convert(TrainingSettings().with_values({"max_resolution": "wide"}), "dataset-toml")


@pytest.mark.parametrize("text", ["[general]\n", "datasets = []\n", "datasets = [1]\n", "[[datasets]]\nsubsets = 3\n"])
def test_an_empty_or_odd_config_is_told(text: str):
    assert "names no image folder" in " ".join(parse_settings(text, "data.toml").report())


def test_a_folder_name_of_endless_digits_is_no_count_of_repeats():
    text = f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '/a/{'9' * 5000}_x'\n"
    assert "to 1_" in " ".join(parse_settings(text, "data.toml").report())
