"""What is written for sd-scripts is what its programs take: their arguments, kinds, choices, and what they ask for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.__main__ import main
from engine.data.training_set import plan_here
from engine.settings.command import write_sd_scripts_command
from engine.settings.convert import convert
from engine.settings.files import parse_settings, read_settings
from engine.settings.presets import OURS
from engine.settings.sd_scripts import FAMILIES, absent, option_for, place_of
from engine.settings.secrets import ARGUMENT_FIELDS
from engine.settings.shell_words import arguments_in
from engine.settings.toml_files import flat, parse_toml
from engine.settings.training import TrainingSettings, training_options
from tests.settings.sd_scripts_says import ARGUMENTS, family_of_script, objections
from tests.settings.test_nothing_lost import KINDS, PILES, other_values

FOLDERS = {"train_data_dir": "img", "output_dir": "out"}

SAID_AS_NOTHING: dict[str, tuple[str, ...]] = {
    # What a program does where its argument is missing, from its code, where its default does not say it.
    "output_name": ("last",),
    "save_precision": ("float",),
    "max_token_length": ("75",),
    "network_dim": ("4",),
    "optimizer_type": ("AdamW",),
    "clip_skip": ("1",),
    "max_timestep": ("1000",),
    "validate_every_n_epochs": ("1",),
    "gemma2_max_token_length": ("256",),
    "attn_mode": ("torch",),
    "vae_batch_size": ("0",),  # kohya_ss does not hand a 0 on
    "compile_dynamic": ("auto",),  # nor this
}


USERS_OWN_WORDS = (*ARGUMENT_FIELDS, "max_resolution", "pretrained_model_name_or_path", *FOLDERS)
"""What a user writes without choices: that these are words of sd-scripts, nobody can hold."""


def said(settings: TrainingSettings) -> tuple[str, dict[str, Any]]:
    """(script, arguments) of the command that is written."""
    words = shlex.split(write_sd_scripts_command(settings, windows=False)[0])
    at = next(place for place, word in enumerate(words) if word.endswith(".py"))
    return words[at], arguments_in(words[at + 1 :])[0]


def refused(settings: TrainingSettings) -> list[str]:
    script, arguments = said(settings)
    known = ARGUMENTS[family_of_script(script)]
    # One word behind an argument that takes several is a list of one.
    listed = {
        name: [value] if name in known and known[name].several and isinstance(value, str) else value
        for name, value in arguments.items()
    }
    return list(objections(script, listed))


@pytest.mark.parametrize("file", sorted(OURS.rglob("*.json")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_preset_is_written_in_words_that_sd_scripts_takes(file: Path):
    settings = read_settings(file).settings.with_values(FOLDERS)
    assert refused(settings) == []
    tables = parse_toml(convert(settings.model_copy(update={"method": "lora"}), "kohya-toml").text)
    assert list(objections(tables["darkroom"]["script"], flat(tables))) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)) or "plain")
def test_every_value_of_every_option_is_written_in_words_that_sd_scripts_takes(kind: dict[str, Any]):
    """A pile of options at a time, at each of their values: one by one takes minutes."""
    others = {item.name: values for item in training_options() if (values := other_values(item))}
    others = {name: values for name, values in others.items() if name not in USERS_OWN_WORDS}
    for turn in range(max(map(len, others.values()))):
        for pile in range(PILES):
            chosen = list(others)[pile::PILES]
            changed = {name: others[name][turn % len(others[name])] for name in chosen}
            settings = TrainingSettings().with_values({**changed, **FOLDERS, **kind})
            assert refused(settings) == [], changed


@pytest.mark.parametrize("family", ["", *FAMILIES])
def test_what_is_left_out_is_what_sd_scripts_does_then(family: str):
    for item in training_options():
        place = place_of(item)
        if place.kind != "argument" or option_for(place.name, family, "lora") is not item:
            continue
        value = absent(item, family)
        theirs = ARGUMENTS[family or "sd"][place.name].default
        if value is None or _same(value, theirs) or str(value) in SAID_AS_NOTHING.get(place.name, ()):
            continue
        raise AssertionError(f"--{place.name} is left out at {value!r}, and then is {theirs!r}")


def _same(ours: Any, theirs: str) -> bool:
    if ours in ("", False, 0) and theirs in ("", "0", "0.0"):
        return True
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return str(ours) == theirs


@pytest.mark.parametrize("size", ["512,512", "768", "1024,768"])
def test_the_resolution_is_always_said(size: str):
    settings = TrainingSettings().with_values({"max_resolution": size})
    assert said(settings)[1]["resolution"] == size
    assert parse_toml(convert(settings, "kohya-toml").text)["resolution"] == size


def test_a_length_that_hangs_on_the_model_is_always_said():
    flux = TrainingSettings().with_values({"flux1_checkbox": True})
    assert said(flux)[1]["t5xxl_max_token_length"] == "512"


@pytest.mark.parametrize(
    "text",
    [
        'dynamo_backend = "no"\nnetwork_dim = 8\n',
        "accelerate launch train_network.py --network_dim 8 --dynamo_backend no",
        '{"network_dim": 8, "dynamo_backend": "no", "additional_parameters": "--dynamo_backend no"}',
    ],
)
def test_compiling_with_nothing_is_no_argument(text: str):
    settings = parse_settings(text).settings
    assert "dynamo_backend" not in said(settings)[1]
    assert "dynamo_backend" not in flat(parse_toml(convert(settings, "kohya-toml").text))


def test_a_backend_that_is_one_stays():
    settings = parse_settings("accelerate launch train_network.py --torch_compile --dynamo_backend inductor").settings
    assert said(settings)[1]["dynamo_backend"] == "inductor"


def test_options_that_no_program_for_lora_has_are_told_and_not_written():
    given = {
        "flux1_checkbox": True,
        "masked_loss": True,
        "mask_dir": "masks",
        "mem_eff_save": True,
        "train_inpainting": True,
    }
    converted = convert(TrainingSettings().with_values({**FOLDERS, **given}), "sd-scripts-command")
    assert not re.search(r"--(mask_dir|mem_eff_save|train_inpainting)", converted.text)
    assert "Mask folder (masks)" in " ".join(converted.notes)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        # ⌈pictures × repeats ÷ batch ÷ accumulation × epochs⌉, as kohya_ss reckons: 7 pictures, 3 repeats.
        ({"epoch": 4, "train_batch_size": 4}, 21),
        ({"epoch": 1, "train_batch_size": 2, "gradient_accumulation_steps": 3}, 4),
        ({"epoch": 10, "train_batch_size": 1}, 210),
        ({"epoch": 2, "train_batch_size": 4, "reg_data_dir": "reg"}, 21),
    ],
)
def test_epochs_become_the_steps_that_kohya_ss_reckons(values: dict[str, Any], steps: int, tmp_path: Path):
    for folder, count in (("img/3_cat", 7), ("reg/1_cat", 2)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (64, 64)).save(tmp_path / folder / f"{number}.png")
    where = {"train_data_dir": str(tmp_path / "img"), "output_dir": "out"}
    values = {**values, **({"reg_data_dir": str(tmp_path / "reg")} if "reg_data_dir" in values else {})}
    settings = TrainingSettings().with_values({**where, **values})
    plan = plan_here(settings)
    assert plan is not None
    file = tmp_path / "settings.json"
    file.write_text(settings.model_dump_json())
    for target in ("sd-scripts-command", "kohya-toml"):
        converted = convert(settings, target, steps=plan.steps)  # type: ignore[arg-type]
        assert re.search(rf"max_train_steps[ =]+{steps}\b", converted.text), converted.text
        assert "max_train_epochs" not in converted.text
        assert converted.notes == []
        assert main(["convert", str(file), "--to", target, "--output", str(tmp_path / target)]) == 0
        assert re.search(rf"max_train_steps[ =]+{steps}\b", (tmp_path / target).read_text())
    back = parse_settings(convert(settings, "kohya-toml", steps=plan.steps).text).settings.optimizer
    assert (back.epoch, back.max_train_steps, back.max_train_epochs) == (settings.optimizer.epoch, 0, 0)


def test_pictures_that_cannot_be_counted_are_told():
    settings = TrainingSettings().with_values({**FOLDERS, "epoch": 4, "train_batch_size": 4})
    assert plan_here(settings) is None
    converted = convert(settings, "sd-scripts-command")
    assert "--max_train_epochs 4" in converted.text
    assert converted.notes[-1].startswith("The pictures cannot be counted here, so Epoch became --max_train_epochs")
    own = settings.with_values({"max_train_epochs": 4})
    assert convert(own, "sd-scripts-command", steps=99).notes == []
    assert "--max_train_epochs 4" in convert(own, "sd-scripts-command", steps=99).text


def test_what_sd_scripts_needs_and_nobody_said_is_told():
    told = convert(TrainingSettings(), "sd-scripts-command").notes
    assert told == ["sd-scripts also needs --output_dir and --train_data_dir, which are not set here."]
    assert convert(TrainingSettings().with_values(FOLDERS), "sd-scripts-command").notes == []
