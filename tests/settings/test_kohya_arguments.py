"""Options of sd-scripts that kohya_ss has no field for travel among its Additional parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.settings.files import read_settings, save_kohya
from engine.settings.kohya_arguments import as_arguments, as_keys
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
    assert as_keys({"additional_parameters": typed}) == {"additional_parameters": typed}
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
