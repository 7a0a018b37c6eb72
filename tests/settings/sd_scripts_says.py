"""What sd-scripts' programs for LoRA take on their command lines: facts of its argparse declarations, February 2026."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path(__file__).with_name("sd_scripts_arguments.tsv")
"""A line an argument: name, kind, nargs, choices, whether required, default, families whose script has it.

"sd" is the script whose name has no family, "*" all of them; "(none)" among the choices is what no command line can
say. What kohya_ss of July 2026 gives a newer sd-scripts is there too: train_inpainting, show_timesteps, compile and
their like.
"""

FAMILIES = ("sd", "sdxl", "flux", "sd3", "lumina", "hunyuan_image", "anima")


class Argument(NamedTuple):
    """kind: of its value, "switch" for none.  several: it takes any number of values.  choices: none for any value.

    default: as text, empty for None and for a switch.
    """

    kind: str
    several: bool
    choices: tuple[str, ...]
    required: bool
    default: str


def _read() -> dict[str, dict[str, Argument]]:
    found: dict[str, dict[str, Argument]] = {family: {} for family in FAMILIES}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        name, kind, nargs, choices, required, default, families = line.split("\t")
        allowed = tuple(choice for choice in choices.split(",") if choice and choice != "(none)")
        for family in FAMILIES if families == "*" else families.split():
            found[family][name] = Argument(kind, nargs == "*", allowed, bool(required), default)
    return found


ARGUMENTS: Mapping[str, Mapping[str, Argument]] = _read()

IN_EVERY_CASE = ("pretrained_model_name_or_path", "resolution", "network_module", "output_dir", "train_data_dir")
"""Without these the programs begin and then refuse, though their command line does not ask for them."""


def family_of_script(script: str) -> str:
    return script.removesuffix("train_network.py").rstrip("_") or "sd"


def objections(script: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Why the program would refuse arguments: True for a switch, a list for several values."""
    known = ARGUMENTS[family_of_script(script)]
    for name, value in arguments.items():
        if name not in known:
            yield f"{script} has no --{name}"
            continue
        argument = known[name]
        values = value if isinstance(value, list) else [value]
        if argument.kind == "switch":
            if value is not True:
                yield f"--{name} takes no value, and has {value!r}"
            continue
        if value is True or (isinstance(value, list) and not argument.several):
            yield f"--{name} takes one value, and has {value!r}"
        for part in map(str, values):
            if not _is(argument.kind, part):
                yield f"--{name} takes {argument.kind}, and has {part!r}"
            elif argument.choices and part not in argument.choices:
                yield f"--{name} takes one of {argument.choices}, and has {part!r}"
    yield from (
        f"--{name} is required" for name, argument in known.items() if argument.required and name not in arguments
    )
    yield from (
        f"--{name} is missing" for name in IN_EVERY_CASE if name not in arguments and "dataset_config" not in arguments
    )


def _is(kind: str, text: str) -> bool:
    try:
        if kind == "int":
            int(text)
        elif kind == "float":
            float(text)
        elif kind == "int_or_float":
            number = float(text.removesuffix("%"))
            return text.endswith("%") or number < 1 or bool(re.fullmatch(r"\d+", text))
    except ValueError:
        return False
    return True
