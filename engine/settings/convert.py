"""Settings from any dialect into any other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from engine.disk import why_not, write_text_whole
from engine.settings.command import is_only_command, is_our_command, write_command, write_sd_scripts_command
from engine.settings.dataset_toml import OPTIONS, write_dataset
from engine.settings.errors import SettingsFileError
from engine.settings.files import dialect, from_kohya, parse_settings, read_text, to_kohya
from engine.settings.option import Option
from engine.settings.sd_scripts_write import to_arguments
from engine.settings.toml_files import config_text, flat, is_dataset, parse_toml, read_config, without_none
from engine.settings.training import TrainingSettings, training_options

Target = Literal["kohya-json", "kohya-toml", "dataset-toml", "command", "sd-scripts-command", "darkroom"]
TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass
class Converted:
    """text: the settings in the target's words.  notes: a sentence for each thing that it cannot say.

    prompts: the file of sample prompts that it names, and what must stand in it.
    """

    text: str
    notes: list[str] = field(default_factory=list)
    prompts: tuple[Path, str] | None = None


def convert(settings: TrainingSettings, target: Target, output: Path | None = None) -> Converted:
    """The settings as a target has them.  output: where they will lie, for a file of sample prompts beside it."""
    prompts = settings.samples.sample_prompts.strip()
    beside = output.with_name(f"{output.stem}-prompts.txt").absolute() if output and prompts else None
    return _WRITERS[target](settings, beside)


def save(converted: Converted, target: Target, output: Path) -> None:
    """Write it, and its sample prompts beside it.

    Raises SettingsFileError, also where another kind of file lies there.
    """
    if output.exists() and (found := kind_of(output)) != target:
        described = f"it is {found}" if found else "it is no settings file"
        raise SettingsFileError(f"{output} is not replaced, for {described} and not {target}.")
    if converted.prompts and converted.prompts[0].exists() and not _may_replace(converted.prompts, output):
        raise SettingsFileError(f"{converted.prompts[0]} is not replaced, for {output.name} does not name it so far.")
    for file, text in filter(None, [converted.prompts, (output, converted.text)]):
        try:
            write_text_whole(file, text)
        except (OSError, ValueError) as error:
            raise SettingsFileError(f"{file} cannot be written: {why_not(error)}.") from None


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
    known = {item.kohya for item in training_options()}
    if written_in == "json":
        return "darkroom" if isinstance(data.get("source_model"), dict) else "kohya-json" if known & set(data) else None
    if is_dataset(data):
        return "dataset-toml"
    return "kohya-toml" if (known | set(to_arguments(TrainingSettings()).arguments)) & set(flat(data)) else None


def _kohya_json(settings: TrainingSettings, _: Path | None) -> Converted:
    return Converted(json.dumps(to_kohya(settings), indent=2, ensure_ascii=False) + "\n")


def _darkroom(settings: TrainingSettings, _: Path | None) -> Converted:
    return Converted(settings.model_dump_json(indent=2) + "\n")


def _kohya_toml(settings: TrainingSettings, prompts_file: Path | None) -> Converted:
    written = to_arguments(settings, str(prompts_file or ""))
    whole = to_kohya(settings)
    # What is read back in another way is what the arguments do not say.
    back = to_kohya(
        from_kohya(read_config({**written.arguments, "darkroom": {"script": written.script}}).data).settings
    )
    kept = {key: value for key, value in whole.items() if key not in back or back[key] != value}
    if prompts_file:
        kept.pop("sample_prompts", None)
    lost = [key for key, value in kept.items() if without_none({key: value}) != {key: value}]
    notes = [f"TOML has no word for the nothing in {', '.join(lost)}."] if lost else []
    launch = [item for item in training_options() if item.name in written.launch and item.name != "mixed_precision"]
    notes += _unsaid("sd-scripts does not read, and Darkroom does", [*written.unsaid, *launch], settings)
    return Converted(config_text(written.arguments, written.script, kept), notes, _prompts(prompts_file, settings))


def _dataset_toml(settings: TrainingSettings, _: Path | None) -> Converted:
    try:
        text, notes = write_dataset(settings)
    except ValueError as error:
        raise SettingsFileError(str(error)) from None
    said = {*OPTIONS.values(), "train_data_dir", "reg_data_dir"}
    others = [item for item in training_options() if item.name not in said and _speaks(item, settings)]
    return Converted(text, notes + _unsaid("Not said by a dataset config", others, settings))


def _command(settings: TrainingSettings, _: Path | None) -> Converted:
    notes = [f"Not said by a command, for they are no options: {', '.join(settings.kohya_extra)}."]
    return Converted(write_command(settings) + "\n", (notes if settings.kohya_extra else []) + _secrets(settings))


def _sd_scripts_command(settings: TrainingSettings, prompts_file: Path | None) -> Converted:
    text, written = write_sd_scripts_command(settings, str(prompts_file or ""))
    notes = _unsaid("sd-scripts has no argument for", written.unsaid, settings)
    more = [key for key in settings.kohya_extra if key != "network_args"]
    notes += [f"Not said, for they are no options: {', '.join(more)}."] if more else []
    if any(item.name == "sample_prompts" for item in written.unsaid):
        notes.append("sd-scripts reads sample prompts from a file; with --output, one is written beside it.")
    return Converted(text + "\n", notes + _secrets(settings), _prompts(prompts_file, settings))


_WRITERS: dict[Target, Callable[[TrainingSettings, Path | None], Converted]] = {
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
    text = "…" if item.widget == "secret" else str(value).replace(os.linesep, " ").replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "…"


def _secrets(settings: TrainingSettings) -> list[str]:
    held = [item.label for item in training_options() if item.widget == "secret" and item.value_in(settings)]
    return [f"It holds a secret: {', '.join(held)}. Take it out before you show the command to others."] if held else []


def _prompts(file: Path | None, settings: TrainingSettings) -> tuple[Path, str] | None:
    return (file, settings.samples.sample_prompts) if file else None


def _may_replace(prompts: tuple[Path, str], output: Path) -> bool:
    """Whether a file of sample prompts that is there says the same, or is the one that the output named before."""
    file, text = prompts
    try:
        return file.read_text(encoding="utf-8") == text or (output.exists() and file.name in read_text(output))
    except (OSError, ValueError):
        return False
