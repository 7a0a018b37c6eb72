"""Files that a command or a TOML file names: prompts, configs and datasets, read beside it and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.settings.convert import convert, save
from engine.settings.files import parse_settings, read_settings
from engine.settings.toml_files import parse_toml


def test_sample_prompts_are_read_from_their_file_and_written_into_one(tmp_path: Path):
    (tmp_path / "p.txt").write_text("a cat --w 512\na dog\n", encoding="utf-8")
    (tmp_path / "a.toml").write_text('network_module = "networks.lora"\nsample_prompts = "p.txt"\n', encoding="utf-8")
    loaded = read_settings(tmp_path / "a.toml")
    assert loaded.settings.samples.sample_prompts == "a cat --w 512\na dog"

    out = tmp_path / "b.toml"
    save(convert(loaded.settings, "kohya-toml", out), "kohya-toml", out)
    assert (tmp_path / "b-prompts.txt").read_text(encoding="utf-8") == "a cat --w 512\na dog"
    assert parse_toml(out.read_text(encoding="utf-8"))["sample_prompts"] == str(tmp_path / "b-prompts.txt")
    assert read_settings(out).settings.samples == loaded.settings.samples

    gone = parse_settings("accelerate launch train_network.py --sample_prompts gone.txt")
    assert gone.settings.hardware.additional_parameters == "--sample_prompts gone.txt"
    assert "gone.txt, which was not read" in " ".join(gone.report())


def test_a_commands_config_file_counts_below_its_own_arguments(tmp_path: Path):
    (tmp_path / "c.toml").write_text('network_dim = 64\nnetwork_alpha = 32\nresolution = "768,768"\n', encoding="utf-8")
    (tmp_path / "run.sh").write_text("accelerate launch train_network.py --config_file c.toml --network_dim 8\n")
    s = read_settings(tmp_path / "run.sh").settings
    assert (s.network.network_dim, s.network.network_alpha, s.dataset.max_resolution) == (8, 32, "768,768")


@pytest.mark.parametrize(
    "text",
    [
        "accelerate launch train_network.py --sample_prompts {}",
        "accelerate launch train_network.py --config_file {}",
        "accelerate launch train_network.py --dataset_config {}",
        "sample_prompts = '{}'\nnetwork_module = 'networks.lora'\n",
        "python -m engine train {} --epoch 3",
    ],
)
def test_pasted_text_opens_no_files(text: str, tmp_path: Path):
    for name in ("secret.txt", "secret.toml", "secret"):
        (tmp_path / name).write_text('output_name = "hidden"\n', encoding="utf-8")
        loaded = parse_settings(text.format(tmp_path / name))
        assert "hidden" not in str(loaded.settings.values())
        assert "pasted text opens no files" in " ".join(loaded.report())


def test_prompts_and_configs_are_small_text_files_and_nothing_else(tmp_path: Path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes in folders")
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    for name in ("/dev/zero", "pipe.toml", "large.toml"):
        for argument in ("sample_prompts", "config_file", "dataset_config"):
            (tmp_path / "run.sh").write_text(f"accelerate launch train_network.py --{argument} {name}\n")
            assert f"{name}" in " ".join(read_settings(tmp_path / "run.sh").report())


def test_a_commands_dataset_config_is_read_where_our_settings_can_say_it(tmp_path: Path):
    (tmp_path / "d.toml").write_text(
        "[general]\nenable_bucket = true\ncaption_prefix = 'a '\nalpha_mask = true\n"
        "[[datasets]]\nbatch_size = 4\nresolution = 768\n"
        "[[datasets.subsets]]\nimage_dir = '/img/3_cat'\nnum_repeats = 3\n"
    )
    (tmp_path / "run.sh").write_text(
        "accelerate launch train_network.py --dataset_config d.toml --train_batch_size 1 --zero_terminal_snr\n"
    )
    s = read_settings(tmp_path / "run.sh").settings
    assert (s.folders.train_data_dir, s.optimizer.train_batch_size, s.dataset.max_resolution) == ("/img", 4, "768")
    assert s.objective.zero_terminal_snr
    assert s.hardware.additional_parameters == ""
    assert s.dataset.masked_loss
    assert s.captions.caption_prefix == "a "
    assert s.values()["dataset_config"] == ""
    assert s.kohya_extra == {}

    (tmp_path / "d.toml").write_text("[[datasets]]\n[[datasets.subsets]]\nimage_dir = '/img/cat'\nnum_repeats = 3\n")
    loaded = read_settings(tmp_path / "run.sh")
    assert loaded.settings.values()["dataset_config"] == str(tmp_path / "d.toml")
    assert "d.toml says more about the datasets than these settings can; it is used as it is." in loaded.report()
