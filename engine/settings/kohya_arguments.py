"""sd-scripts' arguments among kohya_ss's Additional parameters, which it hands on behind what its own fields say.

So options that kohya_ss has no field for are written there, and what stands there counts as on a command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from engine.settings.kin import KIN
from engine.settings.option import Option
from engine.settings.sd_scripts import COMPILES_NOT, family_of_values, option_for, place_of
from engine.settings.sd_scripts_read import from_arguments
from engine.settings.sd_scripts_together import TOGETHER
from engine.settings.sd_scripts_write import to_arguments
from engine.settings.shell_words import arguments_in, quoted, words_from, words_of
from engine.settings.training import TrainingSettings, training_options

FIELD = "additional_parameters"

MULTIRES = ("multires_noise_iterations", "multires_noise_discount")


@cache
def _ours() -> dict[str, Option]:
    """The options by their arguments; those of methods that its tabs do not train would stop its scripts."""
    own = (item for item in training_options() if not item.kohya.has_it and not set(item.kohya.methods) <= set(KIN))
    return {place.name: item for item in own if (place := place_of(item)).kind == "argument"}


def as_arguments(data: Mapping[str, Any]) -> dict[str, Any]:
    """kohya_ss's dictionary with our own options among its Additional parameters too, where they say something.

    Their keys stay: kohya_ss leaves out those that it does not know.
    """
    said = {
        name: data[item.kohya.key]
        for name, item in _ours().items()
        if item.kohya.key in data and data[item.kohya.key] not in (item.default, "", None)
    }
    data = dict(data)
    if data.get("noise_offset_type") == "Both":  # kohya_ss hands on one of the two
        data["noise_offset_type"] = "Original"
        said |= {name: data[name] for name in MULTIRES if name in data}
    typed = str(data.get(FIELD) or "").strip()
    line = quoted(words_from(said))
    # Words that belong to no argument stay before the first one, or they would become a part of ours.
    parts = (line, typed) if typed.startswith("--") else (typed, line)
    return {**data, FIELD: " ".join(filter(None, parts))} if said else data


def followed(settings: TrainingSettings) -> dict[str, Any]:
    """kohya_ss's keys as they are once the arguments among Additional parameters are followed; those alone that change.

    What no option says stays there.
    """
    typed = settings.hardware.additional_parameters
    if "--" not in typed:
        return {}
    arguments, strays = arguments_in(words_of(typed))
    family = family_of_values(settings.values())
    taken = {name: value for name, value in arguments.items() if _says_it(name, value, family)}
    if arguments.get("dynamo_backend") == COMPILES_NOT:
        taken["dynamo_backend"] = COMPILES_NOT
    if not taken:
        return {}
    # kohya_ss reckons steps, whatever they come to, so that only an argument of its own makes them epochs.
    plain = to_arguments(settings.with_values({FIELD: ""}), steps=1)
    before, after = (
        from_arguments(given, plain.script, kept={}).data for given in (plain.arguments, {**plain.arguments, **taken})
    )
    changed = {key: value for key, value in after.items() if key != FIELD and value != before.get(key)}
    left = arguments_in(words_of(str(after.get(FIELD, ""))))[0]
    others = {name: value for name, value in arguments.items() if name not in taken or name in left}
    stays = typed if len(others) == len(arguments) else quoted([*strays, *words_from(others)])
    return {**changed, FIELD: stays} if changed or stays != typed else {}


def _says_it(name: str, value: Any, family: str) -> bool:
    """Whether an option says an argument of this value: a switch has none, and everything else has one."""
    item = option_for(name, family, "lora")
    if item:
        return (value is True) == (item.kind is bool)
    return name in TOGETHER - {FIELD}
