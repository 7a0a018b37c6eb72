"""Command lines: our own (python -m engine train) and sd-scripts' (accelerate launch … train_network.py).

A text may hold more than the command, such as a whole .bat file; the other lines are told about.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from engine.settings.errors import SettingsFileError
from engine.settings.option import Option
from engine.settings.sd_scripts import ELSEWHERE, LAUNCH
from engine.settings.sd_scripts_read import Read, from_arguments
from engine.settings.sd_scripts_write import Written, to_arguments
from engine.settings.shell_words import Sign, arguments_in, lines_of_words, quoted, words_from
from engine.settings.toml_files import flat, is_dataset, parse_toml
from engine.settings.training import TrainingSettings, training_options

LARGEST_COMMAND = 2**18
"""Characters; more is no command line and no .bat file."""

_SCRIPT = re.compile(r"\w*(?:train|fine_tune)\w*\.py", re.IGNORECASE)
_VARIABLE = re.compile(r"%\w+%|\$\{?[A-Za-z_]\w*|![A-Za-z_]\w*!")
_SET = re.compile(r"(?:\$env:)?([A-Za-z_]\w*)=(.*)", re.DOTALL)


def looks_like_command(text: str) -> bool:
    """Whether a line of the text starts a script or our engine, or gives nothing but arguments."""
    return len(text) <= LARGEST_COMMAND and any(_is_command(line) for line in _lines(text))


def is_only_command(text: str) -> bool:
    """Whether the text holds one command and nothing else."""
    lines = _lines(text)
    return len(lines) == 1 and _is_command(lines[0])


def is_our_command(text: str) -> bool:
    return any(_is_ours(line) for line in _lines(text))


def read_command(text: str, folder: Path | None = None) -> tuple[Read, str]:
    """(kohya_ss's keys and values, the settings file that our command names or nothing).  Raises SettingsFileError."""
    lines = _lines(text)
    commands = [line for line in lines if _is_command(line)]
    if not commands:
        raise SettingsFileError(
            "It holds no command that trains: none with a script .py and none with only --arguments."
        )
    read, file = _read_ours(commands[0]) if _is_ours(commands[0]) else (_read_theirs(commands[0], folder), "")
    others = [line for line in lines if line is not commands[0] and not _is_remark(line)]
    if others:
        read.notes.append(
            f"Not read, for they are other commands: {'; '.join(' '.join(line)[:60] for line in others)}."
        )
    variables = sorted({match for word in commands[0] for match in _VARIABLE.findall(word)})
    if variables:
        read.notes.append(f"Variables of the shell are not filled in: {', '.join(variables)}.")
    return read, file


def write_command(settings: TrainingSettings, windows: bool = os.name == "nt") -> str:
    """Our command for all that differs from the defaults."""
    given = {
        item.name: str(value).lower() if item.kind is bool else value
        for item in training_options()
        if (value := item.value_in(settings)) != item.default
    }
    return quoted(["python", "-m", "engine", "train", *words_from(given)], windows)


def write_sd_scripts_command(
    settings: TrainingSettings, prompts_file: str = "", windows: bool = os.name == "nt"
) -> tuple[str, Written]:
    """(sd-scripts' command, what it was made of)."""
    written = to_arguments(settings, prompts_file)
    if written.arguments.get("lr_warmup_steps") == 1.0 and not settings.optimizer.lr_warmup_steps:
        written.arguments["lr_warmup_steps"] = "100%"  # on a command line 1 and 1.0 are one step
    words = ["accelerate", "launch", *words_from(written.launch), written.script, *words_from(written.arguments)]
    return quoted(words, windows), written


def _lines(text: str) -> list[list[str]]:
    """The words by line; a line of nothing but arguments belongs to the one before, whose sign for that was lost."""
    lines: list[list[str]] = []
    for words in lines_of_words(text):
        if words[0].startswith("--") and lines and _is_command(lines[-1]):
            lines[-1] += words
        else:
            lines.append(words)
    return lines


def _is_command(words: list[str]) -> bool:
    return not _is_remark(words) and (_is_ours(words) or _script_at(words) is not None or words[0].startswith("--"))


def _is_ours(words: list[str]) -> bool:
    return any(
        words[at : at + 2] == ["-m", "engine"] and words[at + 2 : at + 3] in (["train"], ["check"])
        for at in range(len(words))
    )


def _is_remark(words: list[str]) -> bool:
    return words[0].startswith(("#", "::", "@echo")) or words[0].lower() in ("rem", "@rem", "pause", "exit", "echo")


def _script_at(words: list[str]) -> int | None:
    """Where the script stands that trains."""
    return next((at for at, word in enumerate(words) if _SCRIPT.fullmatch(re.split(r"[\\/]", word)[-1])), None)


def _until_cut(words: list[str]) -> list[str]:
    """The command up to what a shell takes for the next one or for a place to write to."""
    end = next((at for at, word in enumerate(words) if isinstance(word, Sign)), len(words))
    return words[:end]


def _read_ours(words: list[str]) -> tuple[Read, str]:
    start = next(at for at in range(len(words)) if words[at : at + 2] == ["-m", "engine"]) + 3
    given, strays = arguments_in(_until_cut(words[start:]))
    options: dict[str, Option] = {item.kohya: item for item in training_options()}
    options |= {item.name: item for item in training_options()}
    read = Read()
    for name, value in given.items():
        item = options.get(name)
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        if item is None:
            read.notes.append(f"--{name} is no option here.")
            read.data[name] = text
        else:
            read.data[item.kohya] = text
    return read, strays[0] if strays else ""


def _read_theirs(words: list[str], folder: Path | None) -> Read:
    words = _until_cut(words)
    at = _script_at(words)
    before, after = ([], words) if at is None else (words[:at], words[at + 1 :])
    script = "" if at is None else re.split(r"[\\/]", words[at])[-1].lower()
    given, strays = arguments_in(after)
    config, notes = _config(given.pop("config_file", None), folder)
    launch, launchers = arguments_in(before)
    shared = {"mixed_precision": launch["mixed_precision"]} if "mixed_precision" in launch else {}
    read = from_arguments({**config, **shared, **given}, script, folder)
    known = {item.kohya: item for item in training_options() if ELSEWHERE.get(item.name) == LAUNCH}
    read.data |= {name: value for name, value in launch.items() if name in known}
    further = {name: value for name, value in launch.items() if name not in known and name != "mixed_precision"}
    if further:
        read.data["extra_accelerate_launch_args"] = quoted(words_from(further))
    read.notes += notes
    variables = [pair for word in launchers if (pair := _SET.fullmatch(word))]
    for pair in variables:
        if pair[1] == "CUDA_VISIBLE_DEVICES" and "gpu_ids" not in launch:
            read.data["gpu_ids"] = pair[2]
        else:
            read.notes.append(f"{pair[0]} is the shell's to set, and was not read.")
    if strays:
        read.notes.append(f"Not read, for no argument has it: {' '.join(strays)}.")
    return read


def _config(named: Any, folder: Path | None) -> tuple[dict[str, Any], list[str]]:
    """(the arguments in a --config_file, notes); the command's own count before them."""
    if not named:
        return {}, []
    file = (folder or Path()) / (str(named) if str(named).endswith(".toml") else f"{named}.toml")
    try:
        data = parse_toml(file.read_text(encoding="utf-8-sig"), file.name)
    except (OSError, ValueError) as error:
        why = str(error) if isinstance(error, SettingsFileError) else "It is not there."
        return {}, [f"What stands in {named} is missing, for it cannot be read. {why}"]
    return ({}, [f"{named} is a dataset config."]) if is_dataset(data) else (flat(data), [])
