"""sd-scripts' files of sample prompts, as the lines that Sample prompts holds.

A text file has a prompt a line; JSON a list of such lines or of tables; TOML a table [prompt] with what all have in
common, and tables [[prompt.subset]] of what each has of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.settings.samples import SamplePrompt
from engine.settings.text_files import prompts_text

LARGEST = 2**20

_FLAGS = {
    "width": "w", "height": "h", "sample_steps": "s", "scale": "l", "guidance_scale": "g", "seed": "d",
    "sample_sampler": "ss", "controlnet_image": "cn", "cfg_trunc_ratio": "ctr", "renorm_cfg": "rcfg",
    "flow_shift": "fs", "negative_prompt": "n",
}  # fmt: skip
"""Keys of a table, and the flags of a line that say the same."""

_SAYS_NOTHING = {"prompt", "subset", "enum"}


def read_prompt_file(file: Path) -> str:
    """The prompts, one a line.  Raises ValueError with the reason, in words that follow "was not read:"."""
    text = prompts_text(file, LARGEST, " for sample prompts")
    if "\0" in text:
        raise ValueError("it is not UTF-8 text; save it as UTF-8")
    ending = file.suffix.lower()
    if ending == ".toml":
        return "\n".join(_line(entry, number) for number, entry in enumerate(_tables(text), 1))
    if ending == ".json":
        return "\n".join(_line(entry, number) for number, entry in enumerate(_listed(text), 1))
    return text.strip()


def _tables(text: str) -> list[Any]:
    from engine.settings.toml_files import parse_toml  # whose arguments may name such a file

    found = parse_toml(text, "it").get("prompt")
    common: dict[str, Any] = found if isinstance(found, dict) else {}
    own = common.get("subset")
    if not isinstance(own, list) or not all(isinstance(table, dict) for table in own):
        raise ValueError("it has no [[prompt.subset]], which sd-scripts' TOML prompt files have")
    return [{**common, **table} for table in own]


def _listed(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid JSON ({error})") from None
    if not isinstance(found, list):
        raise ValueError("its JSON is no list of prompts")
    return found


def _line(entry: Any, number: int) -> str:
    """number: of the prompt in the file, from 1."""
    if isinstance(entry, str):
        return " ".join(entry.split())
    if not isinstance(entry, Mapping) or not isinstance(entry.get("prompt", ""), str):
        raise ValueError(f"prompt {number} in it is neither text nor a table with a prompt")
    unknown = [key for key in entry if key not in _FLAGS and key not in _SAYS_NOTHING]
    if unknown:
        raise ValueError(f"{unknown[0]} in its prompt {number} is not known")
    words = " ".join(entry.get("prompt", "").split())
    said = {flag: entry[key] for key, flag in _FLAGS.items() if entry.get(key) is not None}
    line = " ".join([words, *(f"--{flag} {' '.join(str(value).split())}" for flag, value in said.items())])
    try:
        read = SamplePrompt.parse(line)
    except ValueError as error:
        raise ValueError(f"in its prompt {number}, {str(error).partition(': ')[2].rstrip('.')}") from None
    if read.text != words or words.startswith("#"):
        raise ValueError(f"its prompt {number} cannot be written as a line, because its text contains -- or #")
    return line
