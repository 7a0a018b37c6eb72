"""Access tokens, keys and passwords are read and never written: into no file, no sentence and no browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.check.choices import check_choices
from engine.jobs import JOBS
from engine.settings.convert import TARGETS, convert
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings, save_kohya
from engine.settings.kohya_json import Loaded, from_kohya
from engine.settings.presets import Presets
from engine.settings.secrets import arguments_without_secrets, hidden, is_secret
from engine.settings.training import TrainingSettings
from engine.settings.values import BadValues
from tests.settings.sd_scripts_says import ARGUMENTS
from ui.changed_view import changed_table
from ui.remembered import Remembered
from ui.training_tab import TrainingTab

S = "S3CRETS3CRET"

LEAKS: dict[str, dict[str, Any]] = {
    "in its field": {"huggingface_token": S, "wandb_api_key": S, "log_with": "wandb"},
    "bound by =": {"additional_parameters": f"--huggingface_token={S} --log_prefix a"},
    "behind a blank": {"additional_parameters": f"--log_prefix a --wandb_api_key {S}"},
    "in quotes": {"additional_parameters": f'--wandb_api_key=\'{S}\' "--huggingface_token" "{S} {S}"'},
    "a web page's dashes": {"additional_parameters": f"–-huggingface_token “{S}”"},
    "shortened": {"additional_parameters": f"--huggingface_tok={S} --wandb_api {S}"},
    "several values": {"additional_parameters": f"--wandb_api_key {S} {S} --log_prefix a"},
    "the launcher's": {"extra_accelerate_launch_args": f"--hub_token {S}"},
    "the optimizer's": {"optimizer_args": f"betas=0.9,0.99 api_key={S}"},
    "unknown keys": {"hf_token": S, "my_secret": S, "openaiApiKey": S, "wandb": {"password": S, "tokens": [1]}},
    "a number": {"huggingface_token": 31415926535, "wandb_api_key": S},
    "a list": {"huggingface_token": [S, S], "additional_parameters": ["--wandb_api_key", S]},
    "an object": {"wandb_api_key": {"value": S}, "x": [{"token": S}, 2]},
    "a list of arguments": {"network_args": [f"api_key={S}", "conv_dim=4"]},
    "without its name": {
        "a_note": "see hf_S3CRETS3CRETabcdefghijkl",
        "training_comment": "by hf_S3CRETS3CRETabcdefghijkl",
    },
}


def is_told(text: str) -> bool:
    return S in text or "31415926535" in text


def written(settings: TrainingSettings, folder: Path) -> Iterator[str]:
    """Everything that is written of settings anywhere."""
    for target in TARGETS:
        converted = convert(settings, target, folder / f"settings.{target}")
        yield from (converted.text, *converted.notes, *(converted.prompts or ["", ""])[1:])
    yield save_kohya(settings, folder / "saved.json").read_text(encoding="utf-8")
    yield Presets(folder, method="lora").save("mine", settings, f"--wandb_api_key={S}").file.read_text(encoding="utf-8")
    tab = TrainingTab()
    yield json.dumps(tab._changed(None, tab.form.fill(settings))[1])
    yield settings.parted_from_secrets()[0].model_dump_json()
    yield changed_table(settings)
    yield from (f"{problem.what} {problem.mend}" for problem in check_choices(settings))


@pytest.mark.parametrize("data", LEAKS.values(), ids=LEAKS)
def test_a_secret_is_written_nowhere_wherever_it_stands(data: dict[str, Any], tmp_path: Path):
    loaded = from_kohya({"learning_rate": 1e-4, **data})
    assert is_told(loaded.settings.model_dump_json()), "the run of this process may need it"
    assert not any(is_told(sentence) for sentence in loaded.report())
    for text in written(loaded.settings, tmp_path):
        assert not is_told(text), text[:300]


@pytest.mark.parametrize("data", LEAKS.values(), ids=LEAKS)
def test_what_is_left_out_is_told(data: dict[str, Any]):
    settings = from_kohya(data).settings
    names = settings.parted_from_secrets()[1]
    if "a_note" not in data:
        assert any(
            "Left out, because secrets are never written to files" in note
            for note in convert(settings, "darkroom").notes
        )
        [problem] = [problem for problem in check_choices(settings) if "secrets" in problem.what]
        assert not problem.blocking
        assert all(name in problem.what for name in names)


def test_what_stands_beside_a_secret_stays():
    settings = from_kohya({**LEAKS["bound by ="], "a_key_of_tomorrow": {"password": S, "size": 3}}).settings
    clean, names = settings.parted_from_secrets()
    assert clean.hardware.additional_parameters == "--log_prefix a"
    assert clean.kohya_extra == {"a_key_of_tomorrow": {"size": 3}}
    assert names == ["Huggingface token", "password"]  # where the argument belongs
    plain = TrainingSettings().with_values({"additional_parameters": "--log_prefix  'a  b'", "keep_tokens": 3})
    assert plain.parted_from_secrets() == (plain, [])


@pytest.mark.parametrize(
    "text",
    [
        f"accelerate launch train_network.py --network_dim 8 --huggingface_token {S}\n",
        f"export HF_TOKEN={S}\nwandb login {S}\naccelerate launch train_network.py --network_dim 8\n",
        f"set WANDB_API_KEY={S}\npython train_network.py --network_dim=8 > log.txt --wandb_api_key={S}\n",
        f"HF_TOKEN={S} accelerate launch train_network.py --network_dim=8\n",
        f"network_dim = 8\nwandb_api_key = '{S}'\n[more]\nhub_token = '{S}'\ntoken = ['{S}']\n",
        json.dumps({"network_dim": 8, "huggingface_token": [S], "unknown": {"api_key": S}}),
    ],
)
def test_pasted_text_says_its_secrets_to_nobody(text: str, tmp_path: Path):
    loaded: Loaded = parse_settings(text)
    assert loaded.settings.network.network_dim == 8
    assert not any(is_told(sentence) for sentence in loaded.report()), loaded.report()
    assert not any(is_told(part) for part in written(loaded.settings, tmp_path))


@pytest.mark.parametrize("wrong", [[S], {"a": S}, True])
def test_a_sentence_about_a_wrong_token_does_not_show_it(wrong: Any):
    with pytest.raises(BadValues) as refused:
        TrainingSettings().with_values({"huggingface_token": wrong})
    assert str(refused.value) == "Huggingface token is …; it takes text."
    with pytest.raises(BadValues) as refused:
        TrainingSettings().with_values({"additional_parameters": ["--hub_token", S]})
    assert not is_told(str(refused.value))
    with pytest.raises(SettingsFileError) as refused_file:
        parse_settings(f'huggingface_token = "{S}\n')
    assert not is_told(str(refused_file.value))


def test_the_names_of_options_and_arguments_tell_the_secrets_among_them():
    for job in JOBS.values():
        for item in job.settings_class().options():
            assert {is_secret(item.name), is_secret(item.kohya.key)} == {item.widget == "secret"}, item.name
    secrets = {name for names in ARGUMENTS.values() for name in names if is_secret(name)}
    assert secrets == {"huggingface_token", "wandb_api_key"}
    for name in (
        "hf_token",
        "HF_TOKEN",
        "hfToken",
        "WANDB_API_KEY",
        "--api-key",
        "apikey",
        "AWS_SECRET_ACCESS_KEY",
        "pass_passwd",
    ):
        assert is_secret(name), name
    for name in (
        "keep_tokens",
        "max_token_length",
        "class_tokens",
        "num_vectors_per_token",
        "key",
        "tokenizer_cache_dir",
    ):
        assert not is_secret(name), name


def test_utilities_remember_no_secret():
    class Field:
        widget, kind, choices, default, label = "auto", str, (), "", "Additional parameters"
        name = "additional_parameters"

    class Inner:
        def __init__(self) -> None:
            self.options = {"additional_parameters": Field()}

        def readable(self, told: str) -> Any:
            return SimpleNamespace(values=lambda: {"additional_parameters": told})

    class Form:
        job, form = "caption-wd14", Inner()

    remembered = Remembered.__new__(Remembered)
    remembered._forms = [Form()]  # type: ignore[list-item]
    assert remembered.told(f"--token {S} --keep me") == {"caption-wd14": {"additional_parameters": "--keep me"}}


@pytest.mark.parametrize(
    "text", ["a token: write it", "the environment variable HF_TOKEN to your token", "WANDB API Key"]
)
def test_plain_sentences_about_secrets_stay_as_they_are(text: str):
    assert hidden(text) == text
    assert arguments_without_secrets(text) == (text, [])
