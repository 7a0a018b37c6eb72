"""Options of sd-scripts that kohya_ss has no field for travel among its Additional parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.settings.command import write_sd_scripts_command
from engine.settings.convert import convert
from engine.settings.files import parse_settings, read_settings, save_kohya
from engine.settings.kohya_arguments import as_arguments, followed
from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.training import TrainingSettings


def test_a_file_of_kohya_ss_says_them_as_arguments():
    loaded = from_kohya({"additional_parameters": "--caption_prefix 'sks, ' --log_prefix a --enable_wildcard"})
    s = loaded.settings
    assert (s.captions.caption_prefix, s.captions.enable_wildcard) == ("sks, ", True)
    assert s.hardware.additional_parameters == "--log_prefix a"
    assert {"caption_prefix", "enable_wildcard"} <= loaded.named


def test_a_file_for_kohya_ss_says_them_so_and_comes_back(tmp_path: Path):
    values = {"caption_prefix": "-my cat", "token_warmup_step": 0.5, "additional_parameters": "--log_prefix 'a b'"}
    settings = TrainingSettings().with_values(values)
    file = save_kohya(settings, tmp_path / "mine.json")
    said = json.loads(file.read_text())["additional_parameters"]
    assert said == "'--caption_prefix=-my cat' --token_warmup_step 0.5 --log_prefix 'a b'"
    assert read_settings(file).settings == settings


def test_what_was_changed_in_kohya_ss_counts():
    data = {"caption_prefix": "old", "additional_parameters": "--caption_prefix new"}
    assert from_kohya(data).settings.captions.caption_prefix == "new"


def test_a_value_that_its_option_does_not_allow_is_told():
    loaded = from_kohya({"additional_parameters": "--token_warmup_min few"})
    assert "Token warmup minimum is 'few'; it takes a whole number" in loaded.bad["token_warmup_min"]
    assert to_kohya(loaded.settings)["token_warmup_min"] == "few"


@pytest.mark.parametrize("typed", ["--log_prefix a", "", "--caption_prefix", "--enable_wildcard yes", "a --b", None, 3])
def test_what_says_none_of_them_stays_as_it_is(typed: Any):
    loaded = from_kohya({"additional_parameters": typed})
    assert loaded.settings == TrainingSettings().with_values({"additional_parameters": typed})
    assert followed(loaded.settings) == {}
    assert as_arguments({"additional_parameters": typed}) == {"additional_parameters": typed}


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12),
    st.sampled_from(["", "--log_prefix 'a b'", "stray --x 1"]),
    st.booleans(),
)
def test_any_text_comes_back(prefix: str, typed: str, wildcards: bool):
    values = {"caption_prefix": prefix, "additional_parameters": typed, "enable_wildcard": wildcards}
    settings = TrainingSettings().with_values(values)
    assert from_kohya(as_arguments(to_kohya(settings))).settings == settings


PASTED = [
    "--network_train_unet_only",
    "--network_dim 16 --max_train_epochs 4 --optimizer_args weight_decay=0.1 betas=0.9,0.99",
    "--max_train_steps=500 --lr_warmup_steps 0.05 --learning_rate=3e-4 --unet_lr 2e-4",
    "--resolution 768,768 --noise_offset 0.05 --multires_noise_iterations 6 --seed=7",
    "--network_args conv_dim=4 conv_alpha=1 --mixed_precision bf16 --xformers --alpha_mask",
    "--lr_scheduler_num_cycles 3 --lr_scheduler cosine_with_restarts --log_prefix a --dynamo_backend no",
]


@pytest.mark.parametrize("typed", PASTED)
def test_they_act_as_in_a_pasted_command(typed: str):
    told = from_kohya({"additional_parameters": typed, "learning_rate": 1e-4, "unet_lr": 1e-4, "text_encoder_lr": 5e-5})
    # What the command says beside them is what kohya_ss hands on for its own fields.
    base = from_kohya({"learning_rate": 1e-4, "unet_lr": 1e-4, "text_encoder_lr": 5e-5}).settings
    command, _ = write_sd_scripts_command(base, windows=False, steps=1)
    pasted = parse_settings(f"{command} {typed}").settings.values()
    found = told.settings.values()
    plain, own = parse_settings(command).settings.values(), base.values()
    for name, value in pasted.items():
        if name != "additional_parameters":
            assert found[name] == (value if value != plain[name] else own[name]), name
    assert told.bad == {}
    assert found["additional_parameters"] == ("--log_prefix a" if "log_prefix" in typed else "")


def test_what_no_option_for_a_lora_says_stays():
    loaded = from_kohya({"sdxl": True, "additional_parameters": "--learning_rate_te1 3e-6 --seed 5 --nobody_knows 5"})
    assert loaded.settings.network.network_dim == TrainingSettings().network.network_dim
    assert loaded.settings.values()["seed"] == 5
    assert loaded.settings.hardware.additional_parameters == "--learning_rate_te1 3e-6 --nobody_knows 5"


def test_both_kinds_of_noise_go_to_kohya_ss_and_come_back(tmp_path: Path):
    values = {"noise_offset_type": "Both", "noise_offset": 0.05, "multires_noise_iterations": 6}
    settings = TrainingSettings().with_values(values)
    file = save_kohya(settings, tmp_path / "mine.json")
    said = json.loads(file.read_text())
    assert said["noise_offset_type"] == "Original"
    assert "--multires_noise_iterations 6" in said["additional_parameters"]
    assert read_settings(file).settings == settings
    for target in ("sd-scripts-command", "kohya-toml", "kohya-json", "command"):
        assert parse_settings(convert(settings, target).text).settings.objective == settings.objective  # type: ignore[arg-type]
