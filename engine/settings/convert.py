"""Settings from any dialect into any other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from engine.disk import why_not, write_text_whole
from engine.settings.command import (
    is_only_command,
    is_our_command,
    read_command,
    write_command,
    write_sd_scripts_command,
)
from engine.settings.dataset_toml import OPTIONS, write_dataset
from engine.settings.errors import SettingsFileError, listed
from engine.settings.files import LARGEST_FILE, dialect, from_kohya, parse_settings, read_text, to_kohya
from engine.settings.kin import KIN
from engine.settings.kohya_arguments import as_arguments
from engine.settings.option import Option
from engine.settings.sd_scripts import place_of
from engine.settings.sd_scripts_write import Written, said_in_one_way, to_arguments
from engine.settings.secrets import left_out
from engine.settings.text_files import small_text
from engine.settings.toml_files import config_text, flat, is_dataset, parse_toml, read_config, without_none
from engine.settings.training import TrainingSettings, training_options

Target = Literal["kohya-json", "kohya-toml", "dataset-toml", "command", "sd-scripts-command", "darkroom"]
TARGETS: tuple[Target, ...] = get_args(Target)

FOR_A_LORA: tuple[Target, ...] = ("kohya-toml", "sd-scripts-command")
"""What only the settings of a LoRA can be written as."""


@dataclass
class Converted:
    """text: the settings in the target's words.  notes: a sentence for each thing that it cannot say.

    prompts: the file of sample prompts that it names, and what must stand in it.
    """

    text: str
    notes: list[str] = field(default_factory=list)
    prompts: tuple[Path, str] | None = None


def convert(
    settings: TrainingSettings, target: Target, output: Path | None = None, steps: int | None = None
) -> Converted:
    """The settings as a target has them.

    output: where they will lie, for a file of sample prompts beside it.  steps: of the run, where its pictures could
    be counted, for a target of those FOR_A_LORA.

    Raises SettingsFileError.
    """
    if output is not None and not output.name:
        raise SettingsFileError(f"{output} is a folder; add a file name.")
    if target in FOR_A_LORA and settings.method != "lora":
        does = {
            "textual_inversion": "teach new words",
            "hypernetwork": "train a hypernetwork",
            "leco": "learn from prompts alone",
        }
        raise SettingsFileError(
            "sd-scripts' arguments can only be written for a LoRA, and these settings "
            f"{does.get(settings.method, 'train the whole model')}."
        )
    settings, secrets = settings.parted_from_secrets()
    prompts = settings.samples.sample_prompts.strip()
    beside = output.with_name(f"{output.stem}-prompts.txt").absolute() if output and prompts else None
    converted = _WRITERS[target](settings, beside, steps)
    converted.notes += left_out(secrets)
    return converted


def save(converted: Converted, target: Target, output: Path) -> None:
    """Write it, and its sample prompts beside it.

    Raises SettingsFileError, also where another kind of file lies there.
    """
    if output.exists() and (found := kind_of(output)) != target:
        described = f"it is {found}" if found else "it is not a settings file"
        raise SettingsFileError(f"{output} was not replaced, because {described} and not {target}.")
    if converted.prompts and converted.prompts[0].exists() and not _may_replace(converted.prompts, output):
        raise SettingsFileError(f"{converted.prompts[0]} was not replaced, because {output.name} does not refer to it.")
    for file, text in filter(None, [converted.prompts, (output, converted.text)]):
        try:
            write_text_whole(file, text)
        except (OSError, ValueError) as error:
            raise SettingsFileError(f"Cannot write {file}: {why_not(error)}.") from None


def kind_of(path: Path) -> Target | None:
    """Which kind of settings file a file is, None where it is none, or more than that."""
    try:
        text = read_text(path)
        parse_settings(text, path.name, path.parent)
    except SettingsFileError:
        return None
    written_in = dialect(text, path.name)
    if written_in == "command":
        only = "command" if is_our_command(text) else "sd-scripts-command"
        return only if is_only_command(text) else None  # type: ignore[return-value]
    data = parse_toml(text) if written_in == "toml" else json.loads(text)
    known = {item.kohya.key for item in training_options()}
    if written_in == "json":
        return "darkroom" if isinstance(data.get("source_model"), dict) else "kohya-json" if known & set(data) else None
    if is_dataset(data):
        return "dataset-toml"
    return "kohya-toml" if (known | set(to_arguments(TrainingSettings()).arguments)) & set(flat(data)) else None


def _kohya_json(settings: TrainingSettings, *_: object) -> Converted:
    notes = ["kohya_ss's files do not say what they train: open this one on the matching tab."]
    if settings.method in KIN:
        notes = ["No tab of kohya_ss's reads this file: open it in Darkroom, on the tab that it was saved from."]
    elif settings.method == "lora":
        notes = []
    return Converted(json.dumps(as_arguments(to_kohya(settings)), indent=2, ensure_ascii=False) + "\n", notes)


def _darkroom(settings: TrainingSettings, *_: object) -> Converted:
    return Converted(settings.model_dump_json(indent=2) + "\n")


def _kohya_toml(settings: TrainingSettings, prompts_file: Path | None, steps: int | None) -> Converted:
    written = to_arguments(settings, str(prompts_file or ""), steps)
    whole = to_kohya(settings)
    # What is read back in another way is what the arguments do not say.
    back = from_kohya(read_config({**written.arguments, "darkroom": {"script": written.script}}).data).settings
    read = to_kohya(back)
    kept = {key: value for key, value in whole.items() if key not in read or read[key] != value}
    if prompts_file:
        kept.pop("sample_prompts", None)
    lost = [key for key, value in kept.items() if without_none({key: value}) != {key: value}]
    notes = [f"TOML cannot express the null value of {', '.join(lost)}."] if lost else []
    said = ({"sample_prompts"} if prompts_file else set()) | _said_by_steps(written)
    unread = _read_otherwise(settings, back, said)
    notes += _unsaid("Read by Darkroom, but not by sd-scripts", unread, settings)
    notes += _wanting(written, settings)
    return Converted(config_text(written.arguments, written.script, kept), notes, _prompts(prompts_file, settings))


def _dataset_toml(settings: TrainingSettings, *_: object) -> Converted:
    try:
        text, notes = write_dataset(settings)
    except ValueError as error:
        raise SettingsFileError(str(error)) from None
    said = {*OPTIONS.values(), "train_data_dir", "reg_data_dir"}
    others = [item for item in training_options() if item.name not in said and _speaks(item, settings)]
    return Converted(text, notes + _unsaid("Not said by a dataset config", others, settings))


def _command(settings: TrainingSettings, *_: object) -> Converted:
    text = write_command(settings)
    back = _read_back(text)
    lost = [item for item in training_options() if item.value_in(settings) != item.value_in(back)]
    notes = _no_options(list(settings.kohya_extra)) + _unsaid("Not said by a command", lost, settings)
    return Converted(text + "\n", notes)


def _sd_scripts_command(settings: TrainingSettings, prompts_file: Path | None, steps: int | None) -> Converted:
    text, written = write_sd_scripts_command(settings, str(prompts_file or ""), steps=steps)
    said = ({"sample_prompts"} if prompts_file else set()) | _said_by_steps(written)
    # Additional parameters count before what the options say, so that these are not to be missed.
    said |= {item.name for item in training_options() if place_of(item).name in written.overridden}
    unsaid = _read_otherwise(settings, _read_back(text), said)
    ours = [item for item in unsaid if settings.method in item.kohya.methods]
    notes = _unsaid("sd-scripts has no argument for", ours, settings)
    notes += _unsaid(
        "Left out, because it is for other kinds of training", [x for x in unsaid if x not in ours], settings
    )
    notes += _no_options([key for key in settings.kohya_extra if key != "network_args"])
    if any(item.name == "sample_prompts" for item in unsaid):
        notes.append("sd-scripts reads sample prompts from a file; with --output, one is written next to it.")
    notes += _wanting(written, settings)
    return Converted(text + "\n", notes, _prompts(prompts_file, settings))


def _said_by_steps(written: Written) -> set[str]:
    """The options of a run's length, where the arguments give its steps."""
    return {"epoch", "max_train_epochs", "max_train_steps"} if "max_train_steps" in written.arguments else set()


def _wanting(written: Written, settings: TrainingSettings) -> list[str]:
    """What sd-scripts asks for and these settings do not say, and what it may take otherwise."""
    needed = ("pretrained_model_name_or_path", "resolution", "output_dir", "train_data_dir")
    others = {"train_data_dir": ("dataset_config", "in_json")}
    empty = [
        f"--{name}" for name in needed if not any(known in written.arguments for known in (name, *others.get(name, ())))
    ]
    notes = (
        [f"sd-scripts also needs {' and '.join(empty)}, which {'is' if len(empty) == 1 else 'are'} not set here."]
        if empty
        else []
    )
    optimizer = settings.optimizer
    parts = optimizer.train_batch_size * optimizer.gradient_accumulation_steps * settings.hardware.num_processes
    if parts > 1 and "max_train_epochs" in written.arguments and not optimizer.max_train_epochs:
        notes.append(
            "The pictures cannot be counted here, so Epoch became --max_train_epochs. With it sd-scripts may train a "
            "few more steps than kohya_ss, which divides the pictures of all epochs by the batch size."
        )
    return notes


def _no_options(keys: list[str]) -> list[str]:
    return [f"Left out, because they are not options or not allowed values: {listed(keys)}."] if keys else []


def _read_back(command: str) -> TrainingSettings:
    return from_kohya(read_command(command)[0].data).settings


def _read_otherwise(settings: TrainingSettings, back: TrainingSettings, said: set[str]) -> list[Option]:
    """The options that mean something here and mean something else when they are read again."""
    values = settings.values()
    meant, found = said_in_one_way(values), said_in_one_way(back.values())
    return [
        item
        for item in training_options()
        if item.name not in said and meant[item.name] != found[item.name] and item.applies(values)
    ]


_WRITERS: dict[Target, Callable[[TrainingSettings, Path | None, int | None], Converted]] = {
    "kohya-json": _kohya_json,
    "kohya-toml": _kohya_toml,
    "dataset-toml": _dataset_toml,
    "command": _command,
    "sd-scripts-command": _sd_scripts_command,
    "darkroom": _darkroom,
}


def _speaks(item: Option, settings: TrainingSettings) -> bool:
    return item.value_in(settings) != item.default and item.applies(settings.values())


def _unsaid(lead: str, items: Iterable[Option], settings: TrainingSettings) -> list[str]:
    shown = [f"{item.label} ({_shown(item, item.value_in(settings))})" for item in items]
    return [f"{lead}: {', '.join(shown)}."] if shown else []


def _shown(item: Option, value: Any) -> str:
    text = str(value).replace(os.linesep, " ").replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "…"


def _prompts(file: Path | None, settings: TrainingSettings) -> tuple[Path, str] | None:
    return (file, settings.samples.sample_prompts) if file else None


def _may_replace(prompts: tuple[Path, str], output: Path) -> bool:
    """Whether a file of sample prompts that is there says the same, or is the one that the output named before."""
    file, text = prompts
    try:
        return small_text(file, LARGEST_FILE) == text or (output.exists() and file.name in read_text(output))
    except (OSError, ValueError):
        return False
