"""Settings as the arguments of an sd-scripts script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.settings.option import Option
from engine.settings.sd_networks import write_network
from engine.settings.sd_scripts import COMPILES_NOT, absent, family_of_values, option_for, place_of
from engine.settings.shell_words import arguments_in, words_of
from engine.settings.source_model import lora_form
from engine.settings.training import TrainingSettings, training_options


@dataclass
class Written:
    """A script and arguments that say what settings say: True for a switch, a list for several values.

    overridden: names among the arguments that are as Additional parameters say.  words: those of theirs that are no
    --argument.  launch, launch_words: accelerate's own.
    """

    script: str
    arguments: dict[str, Any] = field(default_factory=dict)
    overridden: frozenset[str] = frozenset()
    words: list[str] = field(default_factory=list)
    launch: dict[str, Any] = field(default_factory=dict)
    launch_words: list[str] = field(default_factory=list)


def to_arguments(settings: TrainingSettings, prompts_file: str = "", steps: int | None = None) -> Written:
    """What sd-scripts is to be told.

    prompts_file: where Sample prompts stand, for it reads them from a file.  steps: of the run, where its pictures
    could be counted: kohya_ss counts them too and tells sd-scripts steps, unless Max train epoch says otherwise.
    """
    values = settings.values()
    values["save_model_as"] = lora_form(values["save_model_as"])
    family = family_of_values(values)
    written = Written(f"{family}_train_network.py".removeprefix("_"))
    written.launch = {"mixed_precision": values["mixed_precision"]}
    together = _together(values, family, settings.kohya_extra.get("network_args"))
    if steps and together.get("max_train_epochs") and not values["max_train_epochs"]:
        del together["max_train_epochs"]
        together["max_train_steps"] = steps
    if values["sample_prompts"].strip() and prompts_file:
        together["sample_prompts"] = prompts_file
    for item in training_options():
        place, value = place_of(item), values[item.name]
        if place.kind == "launch" and value != item.default:
            written.launch[place.name] = value
        elif (
            place.kind == "argument"
            and option_for(place.name, family, settings.method) is item
            and item.applies(values)
            and value != absent(item, family)
            and _says_something(value)
        ):
            written.arguments[place.name] = _plain(item, value)
    launch, written.launch_words = arguments_in(words_of(values["extra_accelerate_launch_args"]))
    written.launch |= launch
    further, written.words = arguments_in(words_of(values["additional_parameters"]))
    if further.get("dynamo_backend") == COMPILES_NOT:
        del further["dynamo_backend"]
    written.overridden = frozenset(further)
    written.arguments = dict(sorted({**written.arguments, **together, **further}.items()))
    return written


def said_in_one_way(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options' values, the same for settings that differ only in how they say something."""
    said = dict(values)
    said |= {"sdxl": values["sdxl"] or values["sdxl_checkbox"], "sdxl_checkbox": False}
    epochs = values["max_train_epochs"] or (0 if values["max_train_steps"] else values["epoch"])
    said |= {"max_train_epochs": epochs, "epoch": 1, "max_train_steps": 0 if epochs else values["max_train_steps"]}
    said["lr_warmup"] = 0 if values["lr_warmup_steps"] else round(values["lr_warmup"], 9)
    if values["noise_offset_type"] != "Original" and not values["multires_noise_iterations"]:
        said["noise_offset_type"] = "Original"
    elif values["noise_offset_type"] == "Both" and not values["noise_offset"]:
        said["noise_offset_type"] = "Multires"
    if values["split_mode"]:
        said["train_blocks"] = "single"
    for item in training_options():
        if place_of(item).kind == "network" and item.kind is str:
            said[item.name] = "".join(said[item.name].split())
    for name in ("additional_parameters", "extra_accelerate_launch_args"):
        # Their --arguments are said as they are, and may be what an option says too.
        said[name] = arguments_in(words_of(values[name]))[1]
    return said


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
        "lr_warmup_steps": values["lr_warmup_steps"] or values["lr_warmup"] / 100 or "",
        "optimizer_args": words_of(values["optimizer_args"]),
        "lr_scheduler_args": words_of(values["lr_scheduler_args"]),
        "resume": hub or values["resume"],
        "resume_from_huggingface": bool(hub),
        "xformers": values["cross_attention"] == "xformers",
        "sdpa": values["cross_attention"] == "sdpa",
        "use_object_template": template == "object template",
        "use_style_template": template == "style template",
        "alpha_mask": values["masked_loss"] and not values["mask_dir"],
        "mixed_precision": values["mixed_precision"] if values["mixed_precision"] in ("fp16", "bf16") else "",
        "learning_rate": values["learning_rate"],
        **_rates(values, family),
    }
    return {name: value for name, value in said.items() if _says_something(value)}


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


def _says_something(value: Any) -> bool:
    """A switch that is off, and an empty text, have no argument; 0 is a value like any other."""
    return value is not False and value != "" and value != []


def _plain(item: Option, value: Any) -> Any:
    """Whole numbers as such, also where kohya_ss keeps them among the choices of a text."""
    if item.choices and str(value).isdecimal():
        return int(value)
    return int(value) if item.kind is float and isinstance(item.default, int) and value == int(value) else value
