"""Settings files, in and out: kohya_ss's JSON and Darkroom's own.  Read are sd-scripts' TOML and commands too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from engine.disk import why_not, write_text_whole
from engine.settings.command import looks_like_command, read_command
from engine.settings.dataset_toml import read_dataset
from engine.settings.errors import SettingsFileError
from engine.settings.kohya_json import Loaded, from_kohya, shown, to_kohya
from engine.settings.sd_scripts_read import Read
from engine.settings.toml_files import is_dataset, looks_like_toml, parse_toml, read_config
from engine.settings.training import TrainingSettings

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
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise SettingsFileError(f"{path.name} has {size / 2**20:.0f} MB; a settings file has a few KB.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsFileError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise SettingsFileError(f"{path} is a folder; choose a .json or .toml file in it.") from None
    except UnicodeDecodeError:
        raise SettingsFileError(f"{path.name} is not a text file; a settings file is JSON or TOML.") from None
    except (OSError, ValueError) as error:
        raise SettingsFileError(f"{path} cannot be read: {why_not(error)}.") from None


def parse_settings(text: str, name: str = "The file", folder: Path | None = None) -> Loaded:
    """Read any dialect from text.  folder: where relative paths in it begin.  Raises SettingsFileError."""
    kind = dialect(text, name)
    if kind == "command":
        read, file = read_command(text, folder)
        return _laid_over((folder or Path()) / file, read) if file else _loaded(read)
    if kind == "toml":
        tables = parse_toml(text, name)
        _check_shape(tables, name)
        read = read_dataset(tables) if is_dataset(tables) else read_config(tables, folder)
        return _loaded(read)
    data = _parse_json(text, name)
    if isinstance(data.get("source_model"), dict):
        return _parse_own(data, name)
    return from_kohya(data)


def dialect(text: str, name: str) -> Literal["json", "toml", "command"]:
    """What a text is written in, as it begins, and as its name ends where that does not tell."""
    begins, ending = text.lstrip("\ufeff \t\r\n")[:1], Path(name).suffix.lower()
    if begins == "{" or ending == ".json":
        return "json"
    if ending == ".toml":
        return "toml"
    if looks_like_toml(text):
        return "toml"
    return "command" if looks_like_command(text) else "json"


def _laid_over(file: Path, command: Read) -> Loaded:
    """A file's settings with what a command of ours says over them."""
    text = read_text(file)
    if dialect(text, file.name) == "command":
        raise SettingsFileError(f"The command names {file}, which holds a command again.")
    base = parse_settings(text, file.name, file.parent)
    return _loaded(Read(to_kohya(base.settings) | command.data, base.notes + command.notes))


def _loaded(read: Read) -> Loaded:
    loaded = from_kohya(read.data)
    loaded.notes = read.notes
    return loaded


def _parse_json(text: str, name: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except RecursionError:
        raise SettingsFileError(f"{name} is not a settings file: it is nested too deeply.") from None
    except ValueError as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsFileError(f"{name} is not valid JSON{where}; it may be cut off or edited wrongly.") from None
    _check_shape(data, name)
    if not isinstance(data, dict):
        raise SettingsFileError(f"{name} holds a {type(data).__name__}, not a settings object {{…}}.")
    return data


def _check_shape(data: Any, name: str) -> None:
    """Half a character, and nesting without end, can be read but never be written again."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
        too_deep = _depth(data) > DEEPEST
    except (RecursionError, UnicodeEncodeError):
        too_deep = True
    if too_deep:
        raise SettingsFileError(f"{name} is not a settings file: it is nested too deeply or holds half characters.")


def _parse_own(data: dict[str, Any], name: str) -> Loaded:
    try:
        settings = TrainingSettings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"]))
        raise SettingsFileError(f"{name}: {where} is {shown(first['input'])}: {first['msg']}.") from None
    loaded = from_kohya(to_kohya(settings))
    loaded.settings = loaded.settings.model_copy(update={"method": settings.method})
    return loaded


def save_kohya(settings: TrainingSettings, path: Path) -> Path:
    """Write kohya_ss's JSON, with .json behind the name where it lacks it; returns the file's path.

    The old file stays whole until the new one is. Raises SettingsFileError, also where the old one is no settings file.
    """
    file = path if path.suffix.lower() == ".json" else path.with_name(f"{path.name}.json")
    if file.exists():
        try:
            read_settings(file)
        except SettingsFileError as error:
            raise SettingsFileError(f"{file} is not replaced, for it is no settings file: {error}") from None
    try:
        write_text_whole(file, json.dumps(to_kohya(settings), indent=2, ensure_ascii=False))
    except (OSError, ValueError) as error:
        raise SettingsFileError(f"{file} cannot be written: {why_not(error)}.") from None
    return file


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
