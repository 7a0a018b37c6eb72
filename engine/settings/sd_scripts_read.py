"""The arguments of an sd-scripts script as kohya_ss's keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.settings.option import Option
from engine.settings.sd_networks import FAMILY_OF_MODULE, read_network
from engine.settings.sd_scripts import (
    ABSENT,
    FAMILIES,
    ONLY_THERE,
    SCRIPTS,
    family_of_option,
    family_of_values,
    option_for,
)
from engine.settings.shell_words import quoted, words_from, words_of
from engine.settings.training import training_options

LARGEST_PROMPT_FILE = 2**20


@dataclass
class Read:
    """data: kohya_ss's keys and values.  notes: sentences on what else there is to know."""

    data: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def from_arguments(
    given: Mapping[str, Any],
    script: str = "",
    folder: Path | None = None,
    kept: Mapping[str, Any] | None = None,
    keep_unknown: bool = False,
) -> Read:
    """What a script's arguments say; what is missing is as in sd-scripts.

    folder: where relative paths begin.  kept: what Darkroom noted beside them, which counts more; None where
    it noted nothing.  keep_unknown: names that nobody knows stay keys; else they are kept as arguments.
    """
    given = {name: value for name, value in given.items() if value not in ("", None)}
    method, family, notes = _purpose(given, script, kept)
    read = Read(_flag(family, method), notes)
    assumed = {item.name: value for item, value in _absent(family, method) if value != item.default}
    further: dict[str, Any] = {}
    for name, value in given.items():
        item = option_for(name, family, method)
        if name in _TOGETHER:
            continue
        if item:
            read.data[item.kohya] = _one(item, value)
        elif name not in ONLY_THERE and (keep_unknown or name in _KEYS):
            read.data[name] = value
        else:
            further[name] = value
    read.data = _together(given, family, folder or Path(), read.notes, further) | read.data
    known = {item.name: item for item in training_options()}
    assumed = {name: value for name, value in assumed.items() if known[name].kohya not in read.data}
    read.data |= {known[name].kohya: value for name, value in assumed.items()}
    if further:
        line = quoted(words_from(further))
        read.data["additional_parameters"] = f"{read.data['additional_parameters']} {line}".strip()
        read.notes.append(f"Kept in Additional parameters, for no option says it: {line}")
    if kept is None:
        assumed |= {name: value for arguments, name, value in _ELSE if not arguments & set(given)}
        listed = [f"{known[name].label} ({value})" for name, value in sorted(assumed.items()) if known[name].acts]
        if listed:
            read.notes.append(f"Not told, and so as sd-scripts does it then: {', '.join(listed)}.")
    read.data |= kept or {}
    return read


def _purpose(given: Mapping[str, Any], script: str, kept: Mapping[str, Any] | None) -> tuple[str, str, list[str]]:
    """(method, family, notes), as the script's name says, else as the arguments show."""
    stem = script.removesuffix(".py")
    if stem in SCRIPTS:
        method, family = SCRIPTS[stem]
        if stem.endswith("_train"):
            method = "finetune" if "in_json" in given else "dreambooth"
        return method, family, [] if method == "lora" else [f"{script} does not train a LoRA, and these settings do."]
    notes = [f"{script} is not known here; it was read as train_network.py."] if script else []
    module = str(given.get("network_module", ""))
    shown = next((name for name, family in FAMILIES.items() if any(key in given for key in family.telling)), "")
    family = family_of_values({**given, **(kept or {})}) or FAMILY_OF_MODULE.get(module, shown)
    if not script and not family:
        notes.append("It does not say which kind of model it is for, and was read as for Stable Diffusion 1.")
    if not module:
        notes.append("It names no network_module, and was read as for a Standard LoRA.")
    return "lora", family, notes


def _flag(family: str, method: str) -> dict[str, Any]:
    if not family:
        return {}
    return {"sdxl_checkbox" if family == "sdxl" and method == "finetune" else FAMILIES[family].flag: True}


def _absent(family: str, method: str) -> list[tuple[Option, Any]]:
    """Options of a family and method with what sd-scripts does where it is told nothing."""
    return [
        (item, ABSENT[item.name])
        for item in training_options()
        if item.name in ABSENT and method in item.methods and family_of_option(item) in (None, family)
    ]


_KEYS = {item.kohya for item in training_options()}

_ELSE = (
    ({"learning_rate", "unet_lr"}, "learning_rate", 2e-6),
    ({"max_train_steps", "max_train_epochs"}, "max_train_steps", 1600),
    ({"lr_warmup_steps"}, "lr_warmup", 0),
    ({"mixed_precision"}, "mixed_precision", "no"),
)
"""(arguments, option, value): what _together() does without any of them, for the note on it."""

_TOGETHER = {
    "network_module", "network_args", "max_train_steps", "max_train_epochs", "lr_warmup_steps", "optimizer_args",
    "lr_scheduler_args", "resume", "resume_from_huggingface", "xformers", "sdpa", "use_object_template",
    "use_style_template", "learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only",
    "network_train_text_encoder_only", "sample_prompts", "use_8bit_adam", "use_lion_optimizer", "caption_extention",
    "resolution", "mixed_precision", "additional_parameters",
}  # fmt: skip
"""Arguments that are read by _together()."""


def _together(
    given: Mapping[str, Any], family: str, folder: Path, notes: list[str], further: dict[str, Any]
) -> dict[str, Any]:
    """The arguments that several options say together, or in another way.  further: takes what none of them can."""
    hub = _is_on(given.get("resume_from_huggingface"))
    data: dict[str, Any] = {
        "resume": "" if hub else given.get("resume", ""),
        "resume_from_huggingface": given.get("resume", "") if hub else "",
        "xformers": "xformers" if _is_on(given.get("xformers")) else "sdpa" if _is_on(given.get("sdpa")) else "none",
        "optimizer_args": _as_text(given.get("optimizer_args", "")),
        "lr_scheduler_args": _as_text(given.get("lr_scheduler_args", "")),
        "noise_offset_type": "Multires" if _number(given.get("multires_noise_iterations", 0)) else "Original",
        "mixed_precision": given.get("mixed_precision", "no"),
        "additional_parameters": given.get("additional_parameters", ""),
        "max_train_epochs": given.get("max_train_epochs", 0),
        "max_train_steps": given.get("max_train_steps", 0 if "max_train_epochs" in given else 1600),
        **_warmup(given.get("lr_warmup_steps", 0)),
        **_rates(given, family, further),
        **_prompts(given.get("sample_prompts"), folder, notes, further),
        **_network(given),
    }
    if "resolution" in given:
        size = given["resolution"]
        data["max_resolution"] = ",".join(map(str, size)) if isinstance(size, list) else size
    if "caption_extention" in given:
        data["caption_extension"] = given["caption_extention"]
    for old, optimizer in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if _is_on(given.get(old)):
            data["optimizer"] = optimizer
    for name in ("object", "style"):
        if _is_on(given.get(f"use_{name}_template")):
            data["template"] = f"{name} template"
    return data


def _network(given: Mapping[str, Any]) -> dict[str, Any]:
    if "network_module" not in given:
        return {}
    parts = given.get("network_args", [])
    parts = [str(part) for part in parts] if isinstance(parts, list) else words_of(str(parts))
    data, unknown = read_network(str(given["network_module"]), parts, given)
    return data | ({"network_args": unknown} if unknown else {})


def _warmup(steps: Any) -> dict[str, Any]:
    """Below 1, with a percent sign, or 1.0 in TOML: a share of the steps; else it counts them."""
    in_percent = isinstance(steps, str) and steps.strip().endswith("%")
    number = _number(steps.strip()[:-1]) if in_percent else _number(steps)
    share = number is not None and (in_percent or 0 < number < 1 or (isinstance(steps, float) and number == 1))
    percent = round(float(number or 0) * (1 if in_percent else 100), 9)
    return {"lr_warmup": percent if share else 0, "lr_warmup_steps": 0 if share else steps}


def _rates(given: Mapping[str, Any], family: str, further: dict[str, Any]) -> dict[str, Any]:
    """A part without a rate of its own has the learning rate's; here 0 means that it is not trained.

    text_encoder_lr may have a value for each text encoder: T5's is the last of FLUX's two and of SD 3's three.
    """
    common = given.get("learning_rate", 2e-6)
    texts = given.get("text_encoder_lr", [])
    texts = texts if isinstance(texts, list) else [texts]
    t5: Any = 0
    if len(texts) > 1 and texts[-1] != texts[0] and len(texts) == {"flux": 2, "sd3": 3}.get(family):
        *texts, t5 = texts
    if any(rate != texts[0] for rate in texts):
        further["text_encoder_lr"] = texts
    unet, text = given.get("unet_lr", common), texts[0] if texts else common
    if "unet_lr" not in given and not texts:
        unet, text = 0, 0  # which here means the learning rate for both
    if _is_on(given.get("network_train_unet_only")):
        unet, text = unet or common, 0
    if _is_on(given.get("network_train_text_encoder_only")):
        unet, text = 0, text or common
    return {"learning_rate": common, "unet_lr": unet, "text_encoder_lr": text, "t5xxl_lr": t5}


def _prompts(named: Any, folder: Path, notes: list[str], further: dict[str, Any]) -> dict[str, Any]:
    """sd-scripts has the prompts in a file; a plain text file is read, another stays an argument."""
    if not named:
        return {}
    file = folder / str(named)
    try:
        if file.suffix.lower() not in (".toml", ".json") and file.stat().st_size <= LARGEST_PROMPT_FILE:
            return {"sample_prompts": file.read_text(encoding="utf-8-sig").strip()}
    except (OSError, ValueError):
        pass
    notes.append(f"The sample prompts stand in {named}, which was not read; write them into Sample prompts.")
    further["sample_prompts"] = named
    return {}


def _one(item: Option, value: Any) -> Any:
    """Several words that were meant as one text."""
    return " ".join(map(str, value)) if isinstance(value, list) and item.kind is str else value


def _as_text(value: Any) -> Any:
    """Several values as one text field has them, in quotes where a value has blanks."""
    if not isinstance(value, list):
        return value
    return " ".join(f'"{part}"' if any(map(str.isspace, str(part))) else str(part) for part in value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_on(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")
