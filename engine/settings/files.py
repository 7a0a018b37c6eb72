"""Settings files, in and out: kohya_ss's JSON and Darkroom's own.  Read are sd-scripts' TOML and commands too.

kohya_ss writes one flat dictionary with every value under its key. Files that users exchange hold
numbers as text, "" for unset, and keys that have come and gone over the years.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from engine.disk import why_not, write_text_whole
from engine.settings.command import looks_like_command, read_command
from engine.settings.dataset_toml import read_dataset
from engine.settings.errors import SettingsFileError
from engine.settings.option import Option
from engine.settings.sd_scripts_read import Read, listed
from engine.settings.text_files import TooLarge, small_text
from engine.settings.toml_files import is_dataset, looks_like_toml, parse_toml, read_config
from engine.settings.training import BadValues, TrainingSettings, training_options

LARGEST_FILE = 4 * 2**20
"""Bytes. The largest settings file in the wild has some 20 KB; more is another kind of file."""


DEEPEST = 20
"""Levels of lists and dictionaries; settings have three."""


@dataclass
class Loaded:
    """Settings read from a file, with what there is to say about it.  Nothing of the file is lost.

    bad: a sentence for each value that was not allowed and was left at its default, by option name.
    waiting, idle: options that say something which this version does not follow yet, or never will.
    unknown: keys that no option stands for.
    notes: sentences on what a file of another program says beside its values.
    """

    settings: TrainingSettings
    bad: dict[str, str] = field(default_factory=dict)
    waiting: list[Option] = field(default_factory=list)
    idle: list[Option] = field(default_factory=list)
    unknown: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def report(self) -> list[str]:
        """The same as sentences for people, none where all is well."""
        sentences = [*self.bad.values(), *self.notes]
        for why, options in self._by_reason(self.waiting).items():
            sentences.append(f"Kept, but waiting for {why}: {options}.")
        for why, options in self._by_reason(self.idle).items():
            sentences.append(f"Kept, but without meaning here: {options}. {why}")
        if self.unknown:
            unknown = [f"{_shown(key)[1:-1]} ({_shown(value)})" for key, value in sorted(self.unknown.items())]
            sentences.append(f"Kept, but unknown to this version: {listed(unknown)}.")
        return sentences

    def _by_reason(self, options: list[Option]) -> dict[str, str]:
        """The options with their values, as one text for each reason."""
        groups: dict[str, list[str]] = {}
        for item in options:
            value = item.value_in(self.settings)
            shown = "…" if item.widget == "secret" else _shown(_as_kohya_writes(item, value))
            groups.setdefault(item.standing_of(value).why, []).append(f"{item.label} ({shown})")
        return {why: ", ".join(listed) for why, listed in groups.items()}


RETIRED: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    # Keys of older kohya_ss versions, and what they say in today's; today's key wins where both stand.
    "use_8bit_adam": lambda value: {"optimizer": "AdamW8bit" if _truthy(value) else "AdamW"},
    "use_wandb": lambda value: {"log_with": "wandb"} if _truthy(value) else {},
    "lora_network_weights": lambda value: {"network_weights": value},
    "conv_dims": lambda value: {"conv_block_dims": value},
    "conv_alphas": lambda value: {"conv_block_alphas": value},
    "create_caption": lambda value: {"generate_caption_database": value},
    "create_buckets": lambda value: {"generate_image_buckets": value},
    "darkroom_description": lambda value: {},  # a preset's sentence about itself
    "save_as_bool": lambda value: {},  # a note of kohya_ss's own; save_model_as says how to save
}

OLD_VALUES: Mapping[str, Mapping[str, str]] = {
    # What today's keys held in older versions, as lower-case text.
    "xformers": {"true": "xformers", "false": "none"},
}


def read_settings(path: Path) -> Loaded:
    """Read any dialect from a file.  Raises SettingsFileError."""
    return parse_settings(read_text(path), path.name, path.parent)


def read_text(path: Path) -> str:
    """A settings file's text.  Raises SettingsFileError."""
    try:
        return small_text(path, LARGEST_FILE)
    except TooLarge as error:
        raise SettingsFileError(f"{path.name} has {error.size / 2**20:.0f} MB; a settings file has a few KB.") from None
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
        if Path(name).suffix.lower() != ".json" and not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
            raise SettingsFileError(f"{name} holds no settings and no training command.") from None
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsFileError(f"{name} is not valid JSON{where}; it may be cut off or edited wrongly.") from None
    _check_shape(data, name)
    if not isinstance(data, dict):
        raise SettingsFileError(f"{name} holds {_kind(data)}, not a settings object {{…}}.")
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
        raise SettingsFileError(f"{name} is not a settings file: it is nested too deeply or holds half characters.")


def _parse_own(data: dict[str, Any], name: str) -> Loaded:
    try:
        settings = TrainingSettings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"]))
        raise SettingsFileError(f"{name}: {where} is {_shown(first['input'])}: {first['msg']}.") from None
    loaded = from_kohya(to_kohya(settings))
    loaded.settings = loaded.settings.model_copy(update={"method": settings.method})
    return loaded


def from_kohya(data: Mapping[str, Any]) -> Loaded:
    """Read kohya_ss's dictionary; what is missing has its default, what is wrong is reported."""
    options = {item.kohya: item for item in training_options()}
    given: dict[str, Any] = {}
    for key, value in data.items():
        if key in RETIRED:
            given |= RETIRED[key](value)
    given |= {key: value for key, value in data.items() if key in options}
    named = {options[key].name: _in_todays_words(key, value) for key, value in given.items()}
    bad: dict[str, str] = {}
    try:
        settings = TrainingSettings().with_values(named)
    except BadValues as error:
        bad = error.problems
        settings = TrainingSettings().with_values({name: v for name, v in named.items() if name not in bad})
    kept = {key: value for key, value in data.items() if key not in options or options[key].name in bad}
    settings = settings.model_copy(update={"kohya_extra": kept})
    unknown = {key: v for key, v in data.items() if key not in options and key not in RETIRED and _says_something(v)}
    return Loaded(settings, bad, _speaking(settings, "later"), _speaking(settings, "idle"), unknown)


def _in_todays_words(key: str, value: Any) -> Any:
    return OLD_VALUES.get(key, {}).get(str(value).strip().lower(), value)


def _speaking(settings: TrainingSettings, kind: str) -> list[Option]:
    """Options of a standing that have another value than the default and mean something beside the others."""
    values = settings.values()
    return [
        item
        for item in training_options()
        if values[item.name] != item.default
        and item.standing_of(values[item.name]).kind == kind
        and item.applies(values)
    ]


def to_kohya(settings: TrainingSettings) -> dict[str, Any]:
    """kohya_ss's dictionary: every option under its key, and what was kept from the file loaded before.

    A value that could not be read stands again where it stood, until its option is given another one.
    """
    kept = settings.kohya_extra
    known = {
        item.kohya: _as_kohya_writes(item, item.value_in(settings))
        for item in training_options()
        if item.kohya not in kept or item.value_in(settings) != item.default
    }
    return dict(sorted({**kept, **known}.items()))


def _as_kohya_writes(item: Option, value: Any) -> Any:
    """kohya_ss puts some numbers into text fields, and whole numbers into fields that take fractions too."""
    if item.kohya_text:
        return str(value)
    if item.kind is float and isinstance(item.default, int) and float(value).is_integer():
        return int(value)
    return value


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


def _says_something(value: Any) -> bool:
    """Off, empty and zero are how kohya_ss writes "not used"."""
    return value not in (None, "", "0", 0, False, [], {})


def _truthy(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
