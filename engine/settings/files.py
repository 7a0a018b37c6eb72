"""Settings files, in and out: kohya_ss's JSON and Darkroom's own.  Read are sd-scripts' TOML and commands too."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from engine.disk import why_not, write_text_whole
from engine.settings.command import looks_like_command, read_command
from engine.settings.dataset_toml import read_dataset
from engine.settings.errors import SettingsFileError
from engine.settings.kohya_arguments import as_arguments
from engine.settings.kohya_json import Loaded, from_kohya, is_known, to_kohya
from engine.settings.sd_networks import read_network
from engine.settings.sd_scripts import place_of
from engine.settings.sd_scripts_read import Read
from engine.settings.shell_words import words_of
from engine.settings.text_files import TooLarge, small_text
from engine.settings.toml_files import OURS, flat, is_dataset, looks_like_toml, parse_toml, read_config
from engine.settings.training import USUAL, Method, TrainingSettings, training_options

LARGEST_FILE = 4 * 2**20
"""Bytes. The largest settings file in the wild has some 20 KB; more is another kind of file."""

DEEPEST = 20
"""Levels of lists and dictionaries; settings have three."""


def read_settings(path: Path) -> Loaded:
    """Read any dialect from a file.  Raises SettingsFileError."""
    return parse_settings(read_text(path), path.name, path.parent)


def read_text(path: Path) -> str:
    """A settings file's text.  Raises SettingsFileError."""
    try:
        return small_text(path, LARGEST_FILE)
    except TooLarge as error:
        raise SettingsFileError(
            f"{path.name} is {error.size / 2**20:.0f} MB; a settings file is only a few KB."
        ) from None
    except FileNotFoundError:
        raise SettingsFileError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise SettingsFileError(f"{path} is a folder; choose a .json or .toml file in it.") from None
    except UnicodeDecodeError:
        raise SettingsFileError(f"{path.name} is not a text file; a settings file is JSON or TOML.") from None
    except (OSError, ValueError) as error:
        raise SettingsFileError(f"Cannot read {path}: {why_not(error)}.") from None


def parse_settings(text: str, name: str = "The file", folder: Path | None = None) -> Loaded:
    """Read any dialect from text.  folder: where relative paths in it begin.  Raises SettingsFileError."""
    if len(text) > LARGEST_FILE:
        raise SettingsFileError(f"{name} is {len(text) / 2**20:.0f} MB; a settings file is only a few KB.")
    kind = dialect(text, name)
    if kind == "command":
        read, file = read_command(text, folder)
        return _laid_over((folder or Path()) / file, read) if file else _loaded(read)
    if kind == "toml":
        return _parse_toml(text, name, folder)
    data = _parse_json(text, name)
    if isinstance(data.get("source_model"), dict):
        return _parse_own(data)
    loaded = _loaded(_of_leco(data)) if data.keys() >= LECO else from_kohya(data)
    if data:  # an object with nothing in it says that all is at its default
        _refuse_strangers(data, loaded, name)
    return loaded


LECO = {"prompts_file", "network_module"}
"""Keys by which a file of kohya_ss's LECO tab is known: its other tabs name LoRAs by LoRA_type."""


def _of_leco(data: Mapping[str, Any]) -> Read:
    """That tab has sd-scripts' network_module and network_args for LoRA_type, and the other tabs' keys for the rest."""
    parts = words_of(str(data.get("network_args") or ""))
    network, unknown = read_network(str(data["network_module"]), parts, data)
    rest = {key: value for key, value in data.items() if key not in ("network_module", "network_args")}
    return Read(rest | network | ({"network_args": " ".join(unknown)} if unknown else {}), [], "leco")


def dialect(text: str, name: str) -> Literal["json", "toml", "command"]:
    """What a text is written in, as it begins, and as its name ends where that does not tell."""
    begins, ending = text.lstrip("\ufeff \t\r\n")[:1], Path(name).suffix.lower()
    if begins == "{" or ending == ".json":
        return "json"
    if ending == ".toml":
        return "toml"
    if not looks_like_command(text):
        return "toml" if looks_like_toml(text) else "json"
    # A shell sets its variables as TOML does its keys, and a TOML file may name a script.
    return "toml" if looks_like_toml(text) and _is_toml(text) else "command"


def _is_toml(text: str) -> bool:
    try:
        parse_toml(text)
    except SettingsFileError:
        return False
    return True


def _laid_over(file: Path, command: Read) -> Loaded:
    """A file's settings with what a command of ours says over them."""
    text = read_text(file)
    if dialect(text, file.name) == "command":
        raise SettingsFileError(f"The command refers to {file}, which contains another command.")
    base = parse_settings(text, file.name, file.parent)
    method = command.method or (base.settings.method if base.says_method else None)
    return _loaded(Read(to_kohya(base.settings) | command.data, base.notes + command.notes, method))


def _loaded(read: Read) -> Loaded:
    usual = TrainingSettings().for_method(read.method).values() if read.method else {}
    by_method = {item.kohya.key: usual[item.name] for item in training_options() if item.name in USUAL and usual}
    loaded = from_kohya(by_method | read.data)
    loaded.notes = read.notes + loaded.notes
    if read.method:
        loaded.settings, loaded.says_method = loaded.settings.model_copy(update={"method": read.method}), True
    return loaded


def _parse_toml(text: str, name: str, folder: Path | None) -> Loaded:
    tables = parse_toml(text, name)
    _check_shape(tables, name)
    if is_dataset(tables):
        return _loaded(read_dataset(tables))
    keys = {place_of(item).name: item.kohya.key for item in training_options()}
    keys |= {item.kohya.key: item.kohya.key for item in training_options()}
    # A table in a value's place is no section, though sd-scripts would take its keys for arguments.
    wrong = {
        key: table
        for key, table in tables.items()
        if key in keys and isinstance(table, dict) and not any(inner in keys or is_known(inner) for inner in table)
    }
    read = read_config({key: value for key, value in tables.items() if key not in wrong}, folder)
    read.data |= {keys[key]: table for key, table in wrong.items()}
    loaded = _loaded(read)
    if OURS not in tables:
        _refuse_strangers(flat(tables) | wrong, loaded, name)
    return loaded


def _refuse_strangers(names: Iterable[str], loaded: Loaded, name: str) -> None:
    """A file of another kind would put every option at its default, and be replaced where the form is saved."""
    if all(key in loaded.settings.kohya_extra and not is_known(key) for key in names):
        raise SettingsFileError(f"{name} contains no known setting.")


def _parse_json(text: str, name: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except RecursionError:
        raise SettingsFileError(f"{name} is not a settings file: it is nested too deeply.") from None
    except ValueError as error:
        if Path(name).suffix.lower() != ".json" and not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
            raise SettingsFileError(f"{name} contains neither settings nor a training command.") from None
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsFileError(
            f"{name} is not valid JSON{where}; it may be cut off or have an editing mistake."
        ) from None
    _check_shape(data, name)
    if not isinstance(data, dict):
        raise SettingsFileError(f"{name} contains {_kind(data)}, not a settings object {{…}}.")
    return data


def _kind(data: Any) -> str:
    names = {type(None): "nothing", bool: "true or false", str: "a text", list: "a list"}
    return names.get(type(data), "a number")


def _check_shape(data: Any, name: str) -> None:
    """Half a character, and nesting without end, can be read but never be written again."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
        too_deep = _depth(data) > DEEPEST
    except (RecursionError, UnicodeEncodeError):
        too_deep = True
    if too_deep:
        raise SettingsFileError(
            f"{name} is not a settings file: it is nested too deeply or contains broken characters."
        )


def _parse_own(data: dict[str, Any]) -> Loaded:
    """Our own JSON: what stands in its groups goes under kohya_ss's keys, and is read as leniently."""
    options = {item.path: item for item in training_options()}
    groups = {path[:depth] for path in options for depth in range(1, len(path))}
    extra, method = data.get("kohya_extra"), data.get("method")
    known = {"kohya_extra": isinstance(extra, dict), "method": method in get_args(Method)}
    found = dict(extra) if isinstance(extra, dict) else {}
    for place, value in _leaves({key: value for key, value in data.items() if not known.get(key)}, groups):
        item = options.get(place)
        if item is None:
            found[".".join(place)] = value
        elif item.kohya.key not in found or value != item.default:
            found[item.kohya.key] = value
    loaded = from_kohya(found)
    if known["method"]:
        loaded.settings = loaded.settings.model_copy(update={"method": method})
        loaded.says_method = True
    return loaded


def _leaves(
    group: Mapping[str, Any], groups: Container[tuple[str, ...]], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(place, value) of everything in a group and the groups within it."""
    for key, value in group.items():
        here = (*place, key)
        if here in groups and isinstance(value, dict):
            yield from _leaves(value, groups, here)
        else:
            yield here, value


def save_kohya(settings: TrainingSettings, path: Path) -> Path:
    """Write kohya_ss's JSON without secrets, with .json behind the name where it lacks it; returns the file's path.

    The old file stays whole until the new one is. Raises SettingsFileError, also where the old one is no settings file.
    """
    settings, _ = settings.parted_from_secrets()
    file = path if path.suffix.lower() == ".json" else path.with_name(f"{path.name}.json")
    if file.exists():
        try:
            there = read_settings(file)
        except SettingsFileError as error:
            raise SettingsFileError(f"{file} was not replaced, because it is not a settings file: {error}") from None
        if there.settings.kohya_extra and not there.named:  # the keys of other programs' files may be among ours
            raise SettingsFileError(f"{file} was not replaced, because it contains no known setting.")
    try:
        write_text_whole(file, json.dumps(as_arguments(to_kohya(settings)), indent=2, ensure_ascii=False))
    except (OSError, ValueError) as error:
        raise SettingsFileError(f"Cannot write {file}: {why_not(error)}.") from None
    return file


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
