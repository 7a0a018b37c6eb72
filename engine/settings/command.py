"""Command lines: our own (python -m engine train) and sd-scripts' (accelerate launch … train_network.py).

A text may hold more than the command, such as a whole .bat file; the other lines are told about.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

from engine.settings.dataset_toml import read_dataset
from engine.settings.errors import SettingsFileError, listed
from engine.settings.option import Option
from engine.settings.sd_scripts import ELSEWHERE, LAUNCH
from engine.settings.sd_scripts_read import Read, from_arguments
from engine.settings.sd_scripts_together import NOT_FROM_TEXT
from engine.settings.sd_scripts_write import Written, to_arguments
from engine.settings.secrets import HIDDEN, is_secret, shown, words_without_secrets
from engine.settings.shell_words import Filled, Script, Sign, arguments_in, quoted, script_of, words_from
from engine.settings.text_files import small_text
from engine.settings.toml_files import flat, is_dataset, parse_toml
from engine.settings.training import Method, TrainingSettings, training_options

LARGEST_COMMAND = 2**18
"""Characters; more is no command line and no .bat file."""

LARGEST_CONFIG = 2**20
"""Bytes of a TOML file that a command names."""

_SCRIPT = re.compile(r"\w*(?:train|fine_tune)\w*\.py", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{\w[^}\s]*\}?|\$[A-Za-z_]\w*")
_VARIABLE_OF_CMD = re.compile(rf"%\w+%|![A-Za-z_]\w*!|{_VARIABLE.pattern}")
_SET = re.compile(r"(?:\$env:)?([A-Za-z_]\w*)=(.*)", re.DOTALL)


def looks_like_command(text: str) -> bool:
    """Whether a line of the text starts a script or our engine, or gives nothing but arguments."""
    return len(text) <= LARGEST_COMMAND and any(_is_command(line) for line in _script(text).lines)


def is_only_command(text: str) -> bool:
    """Whether the text holds one command and nothing else."""
    lines = _script(text).lines
    return len(lines) == 1 and _is_command(lines[0])


def is_our_command(text: str) -> bool:
    return any(_is_ours(line) for line in _script(text).lines)


def read_command(text: str, folder: Path | None = None) -> tuple[Read, str]:
    """(kohya_ss's keys and values, the settings file that our command names or nothing).  Raises SettingsFileError."""
    script = _script(text)
    lines = script.lines
    command = next(filter(_names_script, lines), None) or next(filter(_is_command, lines), None)
    if command is None:
        raise SettingsFileError(
            "It contains no training command: none that runs a .py script, and none made up of --arguments only."
        )
    read, file = _read_ours(command) if _is_ours(command) else (_read_theirs(command, folder), "")
    if file and folder is None:
        read.notes.insert(0, f"The contents of {file} are missing, because {NOT_FROM_TEXT}; load that file instead.")
        file = ""
    if script.strays:
        read.notes.append(
            "A line ends with two backslashes, or with a space after one. A shell would end the command there; it was "
            "read as continuing on the next line."
        )
    devices = script.variables.get("CUDA_VISIBLE_DEVICES")
    if devices and "gpu_ids" not in read.data:
        read.data["gpu_ids"] = devices
    others = [line for line in lines if line is not command and not _is_remark(line)]
    if others:
        read.notes.append(
            f"Not read, because they are other commands: {listed([_told(line, script) for line in others])}."
        )
    if script.variables.unused:
        read.notes.append(f"Set by the script but not used in the command: {listed(list(script.variables.unused))}.")
    pattern = _VARIABLE_OF_CMD if script.variables.shell == "cmd" else _VARIABLE
    variables = sorted({match for word in command for match in pattern.findall(word)})
    if variables:
        read.notes.append(f"Shell variables were not filled in: {', '.join(variables)}.")
    return read, file


def write_command(settings: TrainingSettings, windows: bool = os.name == "nt") -> str:
    """Our command for all that differs from what is usual with the method."""
    usual = TrainingSettings().for_method(settings.method)
    given = {
        item.name: str(value).lower() if item.kind is bool else value
        for item in training_options()
        if (value := item.value_in(settings)) != item.value_in(usual)
    }
    method = [] if settings.method == TrainingSettings().method else ["--method", settings.method]
    return quoted(["python", "-m", "engine", "train", *method, *words_from(_sayable(given, windows))], windows)


def write_sd_scripts_command(
    settings: TrainingSettings, prompts_file: str = "", windows: bool = os.name == "nt", steps: int | None = None
) -> tuple[str, Written]:
    """(sd-scripts' command, what it was made of).  prompts_file, steps: see to_arguments()."""
    written = to_arguments(settings, prompts_file, steps)
    if written.arguments.get("lr_warmup_steps") == 1.0 and not settings.optimizer.lr_warmup_steps:
        written.arguments["lr_warmup_steps"] = "100%"  # on a command line 1 and 1.0 are one step
    launch = [*written.launch_words, *words_from(_sayable(written.launch, windows))]
    arguments = [*written.words, *words_from(_sayable(written.arguments, windows))]
    return quoted(["accelerate", "launch", *launch, written.script, *arguments], windows), written


def _sayable(arguments: dict[str, Any], windows: bool) -> dict[str, Any]:
    """A command of cmd.exe ends where its line ends, also within quotes."""
    return {name: value for name, value in arguments.items() if not windows or len(str(value).splitlines()) <= 1}


def _script(text: str) -> Script:
    """A script; a line of nothing but arguments belongs to the one before, whose sign for that was lost."""
    script = script_of(text)
    lines: list[list[str]] = []
    after_command = False
    for words in script.lines:
        if _is_arguments(words) and after_command:
            lines[-1] += words
        else:
            lines.append(words)
            after_command = _is_command(words)
    script.lines = lines
    return script


def _told(line: list[str], script: Script) -> str:
    """A line of a script for people, without the values of its variables that are secrets either."""
    text = shown(line)
    for name, value in script.variables.texts():
        if value and is_secret(name):
            text = text.replace(value, HIDDEN)
    return text[:60]


def _is_command(words: list[str]) -> bool:
    return _names_script(words) or _is_arguments(words)


def _names_script(words: list[str]) -> bool:
    return not _is_remark(words) and (_is_ours(words) or _script_at(words) is not None)


def _is_arguments(words: list[str]) -> bool:
    """Whether a line was written as arguments and nothing else; a variable at its beginning may hold any command."""
    return words[0].startswith("--") and not isinstance(words[0], Filled)


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
    options: dict[str, Option] = {item.kohya.key: item for item in training_options()}
    options |= {item.name: item for item in training_options()}
    read = Read()
    for name, value in given.items():
        item = options.get(name)
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        if name == "method" and value in get_args(Method):
            read.method = value
        elif item is None:
            read.notes.append(f"--{name} is no option here.")
            read.data[name] = text
        else:
            read.data[item.kohya.key] = text
    return read, strays[0] if strays else ""


def _read_theirs(words: list[str], folder: Path | None) -> Read:
    command = _until_cut(words)
    at = _script_at(command)
    before, after = ([], command) if at is None else (command[:at], command[at + 1 :])
    script = "" if at is None else re.split(r"[\\/]", command[at])[-1].lower()
    given, _ = arguments_in(after)
    strays = arguments_in(words_without_secrets(after)[0])[1]
    named = str(given.pop("config_file", ""))
    config, notes = _tables(named if named.endswith(".toml") or not named else f"{named}.toml", folder)
    if is_dataset(config):
        config, notes = {}, [*notes, "The --config_file is a dataset config and was not read."]
    launch, launchers = arguments_in(_launched_with(before))
    precision = {"mixed_precision": launch["mixed_precision"]} if "mixed_precision" in launch else {}
    told = {**flat(config), **given}
    read = from_arguments({**precision, **told}, script, folder)
    if "mixed_precision" not in told and precision.get("mixed_precision", "no") != "no":
        notes.append(
            f"Only accelerate is given the mixed precision {precision['mixed_precision']}; without its own argument "
            "the script would train in full precision. It was applied to both."
        )
    known = {item.kohya.key: item for item in training_options() if ELSEWHERE.get(item.name) == LAUNCH}
    read.data |= {name: value for name, value in launch.items() if name in known}
    further = {name: value for name, value in launch.items() if name not in known and name != "mixed_precision"}
    if further or launchers:
        read.data["extra_accelerate_launch_args"] = quoted([*words_from(further), *launchers])
    read.notes += notes
    for word in before:
        if not (pair := _SET.fullmatch(word)):
            continue
        if pair[1] == "CUDA_VISIBLE_DEVICES" and "gpu_ids" not in launch:
            read.data["gpu_ids"] = pair[2]
        else:
            read.notes.append(f"{shown([word])} is set by the shell and was not read.")
    if strays:
        read.keep(quoted(strays))
    if any(word.startswith("--") for word in words[len(command) :]):
        read.notes.append(f"Not read, because it means something else to the shell: {shown(words[len(command) :])}")
    _lay_dataset_over(read, folder)
    return read


def _launched_with(words: list[str]) -> list[str]:
    """What accelerate is told, of all that stands before the script."""
    start = next((at for at, word in enumerate(words, start=1) if re.split(r"[.\\/]", word)[-1] == "launch"), None)
    first = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    return words[first if start is None else start :]


def _tables(named: Any, folder: Path | None) -> tuple[dict[str, Any], list[str]]:
    """(what stands in a TOML file that a command names, a sentence where that cannot be read)."""
    if not named:
        return {}, []
    why = f"{NOT_FROM_TEXT}."
    if folder is not None:
        file = folder / str(named)
        try:
            return parse_toml(small_text(file, LARGEST_CONFIG), file.name), []
        except SettingsFileError as error:
            why = f"it cannot be read. {error}"
        except FileNotFoundError:
            why = "it does not exist."
        except (OSError, ValueError):
            why = "it cannot be read."
    return {}, [f"The contents of {named} are missing, because {why}"]


def _lay_dataset_over(read: Read, folder: Path | None) -> None:
    """A --dataset_config counts before the arguments; where our settings cannot say all of it, the file is followed."""
    named = read.data.get("dataset_config")
    tables, notes = _tables(named, folder)
    read.notes += notes
    if not tables:
        return
    dataset = read_dataset(tables)
    if set(tables) <= set(dataset.data):
        read.data["dataset_config"] = str((folder or Path()) / str(named))
        read.notes.append(f"{named} says more about the datasets than these settings can; it is used as it is.")
        return
    read.notes += dataset.notes
    further = dataset.data.pop("additional_parameters", "")
    if further:
        read.data["additional_parameters"] = f"{read.data.get('additional_parameters', '')} {further}".strip()
    del read.data["dataset_config"]
    read.data |= dataset.data
