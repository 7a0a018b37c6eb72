"""The arguments of an sd-scripts script as kohya_ss's keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.settings.errors import listed
from engine.settings.option import Option
from engine.settings.sd_networks import FAMILY_OF_MODULE
from engine.settings.sd_scripts import (
    COMPILES_NOT,
    FAMILIES,
    ONLY_THERE,
    OTHER_VALUES,
    SCRIPTS,
    absent,
    counts_for,
    family_of_values,
    option_for,
    place_of,
)
from engine.settings.sd_scripts_together import NOTHING_TOLD, TOGETHER, resolution, together
from engine.settings.secrets import shown as shown_words
from engine.settings.shell_words import arguments_in, quoted, words_from, words_of
from engine.settings.training import Method, training_options

LONGEST_SHOWN = 400


@dataclass
class Read:
    """data: kohya_ss's keys and values.  notes: sentences on what else there is to know.

    method: what is trained, None where it is not said.
    """

    data: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    method: Method | None = None

    def keep(self, line: str) -> None:
        """Arguments that no option says go where kohya_ss passes them on too."""
        self.data["additional_parameters"] = f"{self.data.get('additional_parameters', '')} {line}".strip()
        shown = shown_words(words_of(line))
        shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"
        self.notes.append(
            f"Kept in Additional parameters, because there is no option for it with such a model: {shown}"
        )


def from_arguments(
    given: Mapping[str, Any],
    script: str = "",
    folder: Path | None = None,
    kept: Mapping[str, Any] | None = None,
    keep_unknown: bool = False,
) -> Read:
    """What a script's arguments say; what is missing is as in sd-scripts.

    folder: where relative paths begin, None for a text that lies nowhere and may open no files.  kept: what Darkroom
    noted beside them, which counts more; None where it noted nothing.  keep_unknown: names that nobody knows stay
    keys; else they are kept as arguments.
    """
    given = {name: value for name, value in given.items() if value not in ("", None)}
    if given.get("dynamo_backend") == COMPILES_NOT:
        del given["dynamo_backend"]
    method, family, notes = _purpose(given, script, kept)
    read = Read(_flag(family, method), notes)
    if method == "textual_inversion":
        read.method = "textual_inversion"
    elif method == "leco":
        read.method = "leco"
    elif method != "lora":
        _of_another_training(given, script, read)
        return read
    further: dict[str, Any] = {}
    noted = arguments_in(words_of(str((kept or {}).get("additional_parameters", ""))))[0]
    for name, value in given.items():
        item = option_for(name, family, method)
        if name in TOGETHER:
            continue
        if item:
            read.data[item.kohya.key] = _one(item, _in_our_words(name, value, read.notes))
        elif name in noted:
            continue  # it stands among the arguments because Additional parameters say it
        elif name in _OF_THE_FORM or (keep_unknown and name not in ONLY_THERE and name not in _ARGUMENTS):
            read.data[name] = value
        else:
            further[name] = value
    read.data = together(given, family, folder, read.notes, further) | read.data
    known = {item.name: item for item in training_options()}
    assumed = {name: value for name, value in _assumed(family).items() if known[name].kohya.key not in read.data}
    read.data |= {known[name].kohya.key: value for name, value in assumed.items()}
    if further:
        read.keep(quoted(words_from(further)))
    if kept is None:
        assumed |= {name: value for arguments, name, value in NOTHING_TOLD if not arguments & set(given)}
        told = [(known[name], value) for name, value in sorted(assumed.items()) if known[name].acts]
        if told:
            shown = ", ".join(
                f"{item.label} ({item.value_text(value) if value != '' else 'none'})" for item, value in told
            )
            read.notes.append(f"Not in the command, so set to sd-scripts' defaults: {shown}.")
    read.data |= kept or {}
    return read


def _purpose(given: Mapping[str, Any], script: str, kept: Mapping[str, Any] | None) -> tuple[str, str, list[str]]:
    """(method, family, notes), as the script's name says, else as the arguments show."""
    stem = script.removesuffix(".py").lower() or (OF_LECO if "prompts_file" in given else "")
    method, family = SCRIPTS.get(stem, ("lora", ""))
    if method != "lora":
        if stem.endswith("_train"):
            method = "finetune" if "in_json" in given else "dreambooth"
        return method, family, []
    notes = (
        [f"{script} is not a known script; it was read as train_network.py."] if script and stem not in SCRIPTS else []
    )
    module = str(given.get("network_module", ""))
    if stem not in SCRIPTS:
        shown = next((name for name, family in FAMILIES.items() if any(key in given for key in family.telling)), "")
        family = family_of_values({**given, **(kept or {})}) or FAMILY_OF_MODULE.get(module, shown)
    if not script and not family:
        notes.append("It does not say which kind of model it is for; it was read as Stable Diffusion 1.")
    if not module:
        notes.append("It names no network_module; it was read as a Standard LoRA.")
    return "lora", family, notes


OF_LECO = "train_leco"
"""The script whose arguments alone name a prompts_file."""

_OF_EVERY_TRAINING = (
    "pretrained_model_name_or_path", "v2", "v_parameterization", "train_data_dir", "reg_data_dir", "output_dir",
    "output_name", "resolution", "train_batch_size", "seed", "mixed_precision", "save_precision",
)  # fmt: skip
"""Arguments that mean the same to a LoRA as to what a script of another kind trains."""


def _of_another_training(given: Mapping[str, Any], script: str, read: Read) -> None:
    """What holds for a LoRA too of the arguments of a script that trains something else."""
    read.notes.append(
        f"{script} does not train a LoRA, but these settings do: only the model, folders, resolution, batch size, seed "
        "and precision were taken over."
    )
    taken = {name: given[name] for name in _OF_EVERY_TRAINING if name in given}
    if "resolution" in taken:
        taken["max_resolution"] = resolution(taken.pop("resolution"))
    read.data |= {"pretrained_model_name_or_path": "", **taken}
    if "in_json" in given:
        read.notes.append(
            f"The captions in {given['in_json']} were not read; here captions are files next to the pictures, which "
            "are in sub-folders of the image folder named REPEATS_WORDS."
        )
    others = [f"--{name}" for name in given if name not in _OF_EVERY_TRAINING]
    if others:
        read.notes.append(f"Not taken over: {listed(others)}.")


def _flag(family: str, method: str) -> dict[str, Any]:
    if not family:
        return {}
    return {"sdxl_checkbox" if family == "sdxl" and method == "finetune" else FAMILIES[family].flag: True}


def _assumed(family: str) -> dict[str, Any]:
    """What sd-scripts does where it is told nothing, by option, where that is not the default here."""
    return {
        item.name: value
        for item in training_options()
        if "lora" in item.kohya.methods
        and counts_for(item, family)
        and (value := absent(item, family)) not in (item.default, None)
    }


def _in_our_words(name: str, value: Any, notes: list[str]) -> Any:
    """An argument's value as the option calls it."""
    same = OTHER_VALUES.get(name, {}).get(str(value).lower())
    if same is None:
        return value
    notes.append(f"--{name} {value} is called {same} here; it does the same.")
    return same


_ARGUMENTS = {place.name for item in training_options() if (place := place_of(item)).kind == "argument"}

_OF_THE_FORM = {item.kohya.key for item in training_options() if place_of(item).kind != "launch"} - _ARGUMENTS
"""Keys that kohya_ss writes beside the arguments, and that are none."""


def _one(item: Option, value: Any) -> Any:
    """Several words that were meant as one text."""
    return " ".join(map(str, value)) if isinstance(value, list) and item.kind is str else value
