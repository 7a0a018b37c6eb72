"""Settings as the arguments of an sd-scripts script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.settings.option import Option
from engine.settings.sd_networks import takes, write_network
from engine.settings.sd_scripts import absent, family_of_values, option_for, place_of
from engine.settings.shell_words import arguments_in, words_of
from engine.settings.training import TrainingSettings, training_options


@dataclass
class Written:
    """A script and arguments that say what settings say: True for a switch, a list for several values.

    launch: accelerate's own arguments.  launch_arguments: those of them that settings hold as text.
    unsaid: options with a value of their own that there is no argument for.
    """

    script: str
    launch: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    unsaid: list[Option] = field(default_factory=list)


def to_arguments(settings: TrainingSettings, prompts_file: str = "") -> Written:
    """What sd-scripts is to be told.  prompts_file: where Sample prompts stand, for it reads them from a file."""
    values = settings.values()
    family = family_of_values(values)
    written = Written(f"{family}_train_network.py".removeprefix("_"), {"mixed_precision": values["mixed_precision"]})
    together = _together(values, family, settings.kohya_extra.get("network_args"))
    if values["sample_prompts"].strip() and prompts_file:
        together["sample_prompts"] = prompts_file
    for item in training_options():
        place, value = place_of(item), values[item.name]
        if (
            place.kind == "argument"
            and option_for(place.name, family, settings.method) is item
            and item.applies(values)
        ):
            if value != absent(item) and value not in (False, ""):
                written.arguments[place.name] = _plain(item, value)
        elif value == item.default or not item.applies(values):
            continue
        elif place.kind == "launch":
            written.launch[place.name] = value
        elif not _is_said(item, values, together):
            written.unsaid.append(item)
    written.launch |= arguments_in(words_of(values["extra_accelerate_launch_args"]))[0]
    further = arguments_in(words_of(values["additional_parameters"]))[0]
    written.arguments = dict(sorted({**written.arguments, **together, **further}.items()))
    return written


def _together(values: Mapping[str, Any], family: str, further_network_args: Any) -> dict[str, Any]:
    """The arguments that several options say together, or in another way."""
    module, parts = write_network(values, family)
    parts += further_network_args if isinstance(further_network_args, list) else []
    steps = "max_train_steps" if values["max_train_steps"] and not values["max_train_epochs"] else "max_train_epochs"
    hub = values["resume_from_huggingface"]
    template = values["caption_template"] if values["token_string"] else ""
    said = {
        "network_module": module,
        "network_args": parts,
        steps: values["max_train_epochs"] or values["max_train_steps"] or values["epoch"],
        "lr_warmup_steps": values["lr_warmup_steps"] or values["lr_warmup"] / 100,
        "optimizer_args": words_of(values["optimizer_args"]),
        "lr_scheduler_args": words_of(values["lr_scheduler_args"]),
        "resume": hub or values["resume"],
        "resume_from_huggingface": bool(hub),
        "xformers": values["cross_attention"] == "xformers",
        "sdpa": values["cross_attention"] == "sdpa",
        "use_object_template": template == "object template",
        "use_style_template": template == "style template",
        "mixed_precision": values["mixed_precision"] if values["mixed_precision"] in ("fp16", "bf16") else "",
        **_rates(values, family),
    }
    # A learning rate of 0 is said: without it, sd-scripts takes another.
    return {name: value for name, value in said.items() if value not in (False, "", [])} | {
        "learning_rate": values["learning_rate"]
    }


def _rates(values: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Learning rates; a part whose rate is 0 is not trained, and both at 0 follow learning_rate."""
    unet, text, t5 = values["unet_lr"], values["text_encoder_lr"], values["t5xxl_lr"]
    if not unet and not text:
        return {}
    each = {"flux": [text, t5], "sd3": [text, text, t5]}.get(family) if t5 else None
    return {
        "unet_lr": unet or "",
        "text_encoder_lr": (each or [text]) if text else [],
        "network_train_unet_only": not text,
        "network_train_text_encoder_only": not unet,
    }


def _is_said(item: Option, values: Mapping[str, Any], together: Mapping[str, Any]) -> bool:
    """Whether the arguments that are said together say this option too."""
    kind = place_of(item).kind
    if kind == "network":
        return takes(item, values)
    if item.name == "sample_prompts":
        return "sample_prompts" in together or not values["sample_prompts"].strip()
    if item.name == "caption_template":
        return bool(values["token_string"])
    if item.name == "t5xxl_lr":
        return len(together.get("text_encoder_lr", [])) > 1
    if item.name == "mixed_precision":
        return bool(values["mixed_precision"] != "fp8")
    return kind in ("together", "script")


def _plain(item: Option, value: Any) -> Any:
    """Whole numbers as such, also where kohya_ss keeps them among the choices of a text."""
    if item.choices and str(value).isdecimal():
        return int(value)
    return int(value) if item.kind is float and isinstance(item.default, int) and value == int(value) else value
