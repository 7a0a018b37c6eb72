"""What is written as sd-scripts' arguments and read again: each value comes back, or its option is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.settings.convert import Target, convert
from engine.settings.files import parse_settings
from engine.settings.option import Option
from engine.settings.sd_networks import TYPES
from engine.settings.sd_scripts import FAMILIES, place_of
from engine.settings.shell_words import words_of
from engine.settings.training import TrainingSettings, training_options
from tests.settings.test_files import another_value

KINDS: list[dict[str, Any]] = [
    {},
    *({facts.flag: True} for facts in FAMILIES.values()),
    *({"lora_type": kind} for kind in TYPES if kind != "Standard"),
    {"flux1_checkbox": True, "lora_type": "Flux1"},
    {"flux1_checkbox": True, "lora_type": "Flux1", "train_lora_ggpo": True},
    {"flux1_checkbox": True, "lora_type": "Flux1 OFT"},
]
"""Every family and every LoRA type, and the types that are one family's in it."""

Values = dict[str, Any]

SAID_OTHERWISE: dict[str, Callable[[Values, Values], bool]] = {
    # Options that come back as another text of the same meaning or as what another one says, or that another silences.
    "epoch": lambda was, back: (
        was["max_train_epochs"] + was["max_train_steps"] > 0 or back["max_train_epochs"] == was["epoch"]
    ),
    "max_train_steps": lambda was, back: was["max_train_epochs"] > 0,
    "lr_warmup": lambda was, back: was["lr_warmup_steps"] > 0 or back["lr_warmup"] == round(was["lr_warmup"], 9),
    "sdxl_checkbox": lambda was, back: back["sdxl"] is True,
    "image_folder": lambda was, back: back["train_data_dir"] in (was["train_data_dir"], was["image_folder"]),
    "noise_offset_type": lambda was, back: back["multires_noise_iterations"] == 0 or back["noise_offset"] == 0,
    **{
        item.name: lambda was, back, name=item.name: back[name] == "".join(was[name].split())
        for item in training_options()
        if place_of(item).kind == "network" and item.kind is str
    },
    **{
        name: lambda was, back, name=name: words_of(back[name]) == words_of(was[name])
        for name in ("additional_parameters", "extra_accelerate_launch_args", "optimizer_args", "lr_scheduler_args")
    },
    "train_blocks": lambda was, back: back["split_mode"] is True,
}

PILES = 6
"""Options are changed a pile at a time: one by one takes minutes, and all at once hides some behind others."""


def other_values(item: Option) -> list[Any]:
    """Values beside the default: the least, the greatest, 0, and some between; odd texts."""
    if item.kind is bool:
        return [not item.default]
    if item.choices:
        return [choice for choice in item.choices if choice != item.default]
    if item.kind is str:
        return ["abc", "a b", "-x", "--y 1", "#1 \"q\" 'r' \\", ""]
    low = -3 if item.at_least is None else item.at_least
    high = 3 if item.at_most is None else item.at_most
    found = [item.kind(value) for value in (0, low, high, 2, 0.5)]
    return [value for value in dict.fromkeys(found) if low <= value <= max(low, high) and value != item.default]


def lost(settings: TrainingSettings, target: Target) -> set[str]:
    """Options whose value neither comes back nor is named."""
    values, converted = settings.values(), convert(settings, target)
    back, notes = parse_settings(converted.text).settings.values(), " ".join(converted.notes)
    return {
        f"{item.name}: {values[item.name]!r} came back as {back[item.name]!r}"
        for item in training_options()
        if item.applies(values)
        and values[item.name] not in (item.default, back[item.name])
        and not SAID_OTHERWISE.get(item.name, lambda was, back: False)(values, back)
        and item.label not in notes
    }


@pytest.mark.parametrize(
    ("target", "turn"), [*(("sd-scripts-command", turn) for turn in range(6)), ("kohya-toml", 1), ("kohya-toml", 4)]
)
def test_every_value_comes_back_from_sd_scripts_arguments_or_its_option_is_named(target: Target, turn: int):
    others = {item.name: values for item in training_options() if (values := other_values(item))}
    for number, kind in enumerate(KINDS):
        for pile in range(PILES):
            chosen = [name for place, name in enumerate(others) if (place + number) % PILES == pile]
            changed = {name: others[name][turn % len(others[name])] for name in chosen}
            assert not lost(TrainingSettings().with_values({**changed, **kind}), target), kind


@given(st.lists(st.sampled_from(training_options()), max_size=12, unique_by=lambda item: item.name), st.data())
def test_whatever_is_chosen_together_nothing_is_lost(items: list[Option], data: st.DataObject):
    settings = TrainingSettings().with_values({item.name: data.draw(another_value(item)) for item in items})
    assert not lost(settings, "sd-scripts-command")


def test_an_option_that_has_an_argument_comes_back_and_is_not_merely_named():
    plain = TrainingSettings().with_values({"train_data_dir": "img", "output_dir": "out", "max_train_epochs": 1})
    named = {
        item.label
        for item in training_options()
        for value in other_values(item)[:1]
        if item.acts
        and "lora" in item.kohya.methods
        and convert(plain.with_values({item.name: value}), "sd-scripts-command").notes
    }
    # The scripts for Stable Diffusion, the family that nothing else is said of here, know no blocks to swap,
    # and a standard LoRA no other strength; no script reads scores of pictures.
    assert named == {
        "Sample prompts",
        "Overwrite files of the same name",
        "Stop TE (% of total steps)",
        "Blocks to swap",
        "Train LoRA GGPO",
        "Rank-stabilised LoRA",
        "LoRA file dialect",
        "Score threshold",
        "Weight by score",
        "Words by score",
        "Place of the words",
        "EMA",
        "Start from the checkpoint's EMA weights",
        "Teach new words too",
        "Opposite image folder (Optional. makes the LoRA a slider)",
    }
