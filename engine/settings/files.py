"""Settings files, in and out: kohya_ss's JSON and Darkroom's own.

kohya_ss writes one flat dictionary with every value under its key. Files that users exchange hold
numbers as text, "" for unset, and keys that have come and gone over the years.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.disk import write_text_whole
from engine.settings.training import BadValues, TrainingSettings, training_options

LARGEST_FILE = 4 * 2**20
"""Bytes. The largest settings file in the wild has some 20 KB; more is another kind of file."""


class SettingsFileError(ValueError):
    """A file cannot be read as settings; the message is one sentence for people."""


@dataclass
class Loaded:
    """Settings read from a file, with what there is to say about it.

    bad: a sentence for each value that was not allowed and was left at its default, by option name.
    not_acted_on: keys that say something which this version does nothing about; they are kept.
    """

    settings: TrainingSettings
    bad: dict[str, str] = field(default_factory=dict)
    not_acted_on: dict[str, Any] = field(default_factory=dict)

    def report(self) -> list[str]:
        """The same as sentences for people, none where all is well."""
        sentences = list(self.bad.values())
        if self.not_acted_on:
            listed = ", ".join(f"{key} ({_shown(value)})" for key, value in sorted(self.not_acted_on.items()))
            sentences.append(f"Kept in the file, but without effect in this version: {listed}.")
        return sentences


def _old_use_8bit_adam(value: Any) -> dict[str, Any]:
    return {"optimizer": "AdamW8bit" if _truthy(value) else "AdamW"}


RETIRED: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    # Keys of older kohya_ss versions, and what they say in today's; today's key wins where both stand.
    "use_8bit_adam": _old_use_8bit_adam,
}


def read_settings(path: Path) -> Loaded:
    """Read either dialect from a file.  Raises SettingsFileError."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise SettingsFileError(f"{path.name} has {size / 2**20:.0f} MB; a settings file has a few KB.")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsFileError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise SettingsFileError(f"{path} is a folder; choose a .json file in it.") from None
    except UnicodeDecodeError:
        raise SettingsFileError(f"{path.name} is not a text file; a settings file is JSON.") from None
    except (OSError, ValueError) as error:
        raise SettingsFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return parse_settings(text, path.name)


def parse_settings(text: str, name: str = "The file") -> Loaded:
    """Read either dialect from text.  Raises SettingsFileError."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise SettingsFileError(f"{name} is not a settings file: it is nested too deeply.") from None
    except ValueError as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsFileError(f"{name} is not valid JSON{where}; it may be cut off or edited wrongly.") from None
    if not isinstance(data, dict):
        raise SettingsFileError(f"{name} holds a {type(data).__name__}, not a settings object {{…}}.")
    if isinstance(data.get("source_model"), dict):
        return _parse_own(data, name)
    return from_kohya(data)


def _parse_own(data: dict[str, Any], name: str) -> Loaded:
    try:
        settings = TrainingSettings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"]))
        raise SettingsFileError(f"{name}: {where} is {_shown(first['input'])}: {first['msg']}.") from None
    return Loaded(settings, not_acted_on=_meaningful(settings.kohya_extra))


def from_kohya(data: Mapping[str, Any]) -> Loaded:
    """Read kohya_ss's dictionary; what is missing has its default, what is wrong is reported."""
    names = {item.kohya: item.name for item in training_options()}
    given: dict[str, Any] = {}
    for key, value in data.items():
        if key in RETIRED:
            given |= RETIRED[key](value)
    given |= {names[key]: value for key, value in data.items() if key in names}
    extra = {key: value for key, value in data.items() if key not in names}
    bad: dict[str, str] = {}
    try:
        settings = TrainingSettings().with_values(given)
    except BadValues as error:
        bad = error.problems
        settings = TrainingSettings().with_values({name: v for name, v in given.items() if name not in bad})
    settings = settings.model_copy(update={"kohya_extra": extra})
    unacted = {key: value for key, value in _meaningful(extra).items() if key not in RETIRED}
    return Loaded(settings, bad, unacted)


def to_kohya(settings: TrainingSettings) -> dict[str, Any]:
    """kohya_ss's dictionary: every option under its key, and the keys kept from the file loaded before."""
    known = {item.kohya: item.value_in(settings) for item in training_options()}
    return dict(sorted({**settings.kohya_extra, **known}.items()))


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
    except UnicodeEncodeError:
        raise SettingsFileError(f"{file} cannot be written: a field holds half a character.") from None
    except (OSError, ValueError) as error:
        raise SettingsFileError(f"{file} cannot be written: {getattr(error, 'strerror', None) or error}.") from None
    return file


def _meaningful(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that say something: off, empty and zero are how kohya_ss writes "not used"."""
    return {key: value for key, value in extra.items() if value not in (None, "", "0", 0, False, [], {})}


def _truthy(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
