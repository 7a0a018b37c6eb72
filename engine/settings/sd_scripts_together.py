"""The arguments of sd-scripts that several options say together, or in another way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.settings.prompt_files import read_prompt_file
from engine.settings.sd_networks import read_network
from engine.settings.shell_words import words_of

NOT_FROM_TEXT = "pasted text opens no files"

NOTHING_TOLD = (
    ({"learning_rate", "unet_lr"}, "learning_rate", 2e-6),
    ({"max_train_steps", "max_train_epochs"}, "max_train_steps", 1600),
    ({"lr_warmup_steps"}, "lr_warmup", 0),
    ({"mixed_precision"}, "mixed_precision", "no"),
)
"""(arguments, option, value): what together() does without any of them, for the note on it."""

TOGETHER = {
    "network_module", "network_args", "max_train_steps", "max_train_epochs", "lr_warmup_steps", "optimizer_args",
    "lr_scheduler_args", "resume", "resume_from_huggingface", "xformers", "sdpa", "use_object_template",
    "use_style_template", "learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only",
    "network_train_text_encoder_only", "sample_prompts", "use_8bit_adam", "use_lion_optimizer", "caption_extention",
    "resolution", "mixed_precision", "additional_parameters", "alpha_mask",
}  # fmt: skip
"""Arguments that are read by together()."""


def together(
    given: Mapping[str, Any], family: str, folder: Path | None, notes: list[str], further: dict[str, Any]
) -> dict[str, Any]:
    """The arguments that several options say together, or in another way.  further: takes what none of them can."""
    hub = _is_on(given.get("resume_from_huggingface"))
    data: dict[str, Any] = {
        "resume": "" if hub else given.get("resume", ""),
        "resume_from_huggingface": given.get("resume", "") if hub else "",
        "xformers": "xformers" if _is_on(given.get("xformers")) else "sdpa" if _is_on(given.get("sdpa")) else "none",
        "optimizer_args": _as_text(given.get("optimizer_args", "")),
        "lr_scheduler_args": _as_text(given.get("lr_scheduler_args", "")),
        "noise_offset_type": noise_offset_type(given),
        "mixed_precision": given.get("mixed_precision", "no"),
        "additional_parameters": given.get("additional_parameters", ""),
        "max_train_epochs": given.get("max_train_epochs", 0),
        "max_train_steps": given.get("max_train_steps", 0 if "max_train_epochs" in given else 1600),
        **_warmup(given.get("lr_warmup_steps", 0)),
        **_rates(given, family, further),
        **_prompts(given.get("sample_prompts"), folder, notes, further),
        **_network(given),
    }
    if _is_on(given.get("alpha_mask")):
        data["masked_loss"] = True
    if "resolution" in given:
        data["max_resolution"] = resolution(given["resolution"])
    if family == "sd3" and "text_encoder_batch_size" not in given:
        data["sd3_text_encoder_batch_size"] = given.get("train_batch_size", 1)
    if "caption_extention" in given:
        data["caption_extension"] = given["caption_extention"]
    for old, optimizer in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if _is_on(given.get(old)):
            data["optimizer"] = optimizer
    for name in ("object", "style"):
        if _is_on(given.get(f"use_{name}_template")):
            data["template"] = f"{name} template"
    return data


def noise_offset_type(given: Mapping[str, Any]) -> str:
    """sd-scripts shifts the noise where it is told to, and then adds coarser noise where it is told to."""
    if not _number(given.get("multires_noise_iterations", 0)):
        return "Original"
    return "Both" if _number(given.get("noise_offset", 0)) else "Multires"


def _network(given: Mapping[str, Any]) -> dict[str, Any]:
    if "network_module" not in given and "network_args" not in given:
        return {}
    parts = given.get("network_args", [])
    parts = [str(part) for part in parts] if isinstance(parts, list) else words_of(str(parts))
    data, unknown = read_network(str(given.get("network_module", "networks.lora")), parts, given)
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


def _prompts(named: Any, folder: Path | None, notes: list[str], further: dict[str, Any]) -> dict[str, Any]:
    """sd-scripts has the prompts in a file: one that cannot be read stays an argument."""
    if not named:
        return {}
    why = NOT_FROM_TEXT
    if folder is not None:
        try:
            return {"sample_prompts": read_prompt_file(folder / str(named))}
        except ValueError as error:
            why = str(error).rstrip(".")
    notes.append(f"The sample prompts are in {named}, which was not read: {why}. Copy them into Sample prompts.")
    further["sample_prompts"] = named
    return {}


def resolution(size: Any) -> Any:
    """A size as one text, also where TOML has it as a list."""
    return ",".join(map(str, size)) if isinstance(size, list) else size


def _as_text(value: Any) -> Any:
    """Several values as one text field has them, in quotes where a value has blanks."""
    if not isinstance(value, list):
        return value
    return " ".join(f'"{part}"' if any(map(str.isspace, str(part))) else str(part) for part in value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_on(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")
