"""LyCORIS's preset files: TOML that says which layers a network is put on, by the classes of modules and by names."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.settings.errors import SettingsFileError
from engine.settings.files import read_text
from engine.settings.layer_patterns import Pattern, pattern_of
from engine.settings.paths import usable_path
from engine.settings.toml_files import parse_toml

LABEL = "LyCORIS Preset"

_LISTS = (
    "unet_target_module",
    "unet_target_name",
    "text_encoder_target_module",
    "text_encoder_target_name",
    "exclude_name",
)
_SWITCHES = ("enable_conv", "use_fnmatch")
_OF_ITS_LIBRARY = ("target_module", "target_name", "lora_prefix")
"""What only programs that call LyCORIS directly go by."""

_OTHER_KINDS = ("module_algo_map", "name_algo_map")


@dataclass(frozen=True)
class PresetFile:
    """modules, text_modules: classes, None for those of the preset "full".  names, text_names: patterns that the names
    of single layers begin with.  convolutions: whether those of more than one pixel are trained.
    """

    modules: tuple[str, ...] | None
    names: tuple[Pattern, ...]
    text_modules: tuple[str, ...] | None
    text_names: tuple[Pattern, ...]
    excluded: tuple[Pattern, ...]
    convolutions: bool


def is_file(preset: str) -> bool:
    """Whether it is the path of such a file, and not a preset's name."""
    return preset.lower().endswith(".toml")


def preset_file(path: str) -> PresetFile:
    """Raises ValueError, a sentence, where it cannot be read or followed.

    Several ask for one answer: the file is read again where it is another by its time, size or number.
    """
    file = Path(usable_path(LABEL, path))
    state: tuple[int, ...] = ()
    try:
        stat = file.stat()
        state = stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
    except OSError:
        pass  # reading it says why
    return _read(file, state)


@lru_cache(maxsize=1)
def _read(file: Path, _state: tuple[int, ...]) -> PresetFile:
    try:
        data = parse_toml(read_text(file), file.name)
    except SettingsFileError as error:
        raise ValueError(f"{LABEL}: {error}") from None
    name = file.name
    if not set(data) & {*_LISTS, *_SWITCHES, *_OTHER_KINDS}:
        raise ValueError(f"{name} is no LyCORIS preset: it has none of {', '.join(_LISTS)}.")
    if others := sorted(set(data) & set(_OTHER_KINDS)):
        raise ValueError(
            f"{name} has {others[0]}, which gives some layers another kind of network or another rank. Remove it; "
            "Ranks by layer can give them ranks."
        )
    if unknown := sorted(set(data) - {*_LISTS, *_SWITCHES, *_OF_ITS_LIBRARY}):
        raise ValueError(f"{name} has {unknown[0]}, which no LyCORIS preset has. Correct or remove it.")
    _refuse_other_values(name, data)
    patterns = {key: _patterns(name, key, data) for key in _LISTS if not key.endswith("module")}
    return PresetFile(
        _classes(data, "unet_target_module"),
        patterns["unet_target_name"],
        _classes(data, "text_encoder_target_module"),
        patterns["text_encoder_target_name"],
        patterns["exclude_name"],
        data.get("enable_conv", True),
    )


def _refuse_other_values(name: str, data: Mapping[str, Any]) -> None:
    for key in _LISTS:
        value = data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError(f'{name}: {key} is to be a list of names, such as ["Transformer2DModel"].')
    for key in _SWITCHES:
        if not isinstance(data.get(key, True), bool):
            raise ValueError(f"{name}: {key} is to be true or false.")


def _classes(data: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    return tuple(data[key]) if key in data else None


def _patterns(name: str, key: str, data: Mapping[str, Any]) -> tuple[Pattern, ...]:
    stars = bool(data.get("use_fnmatch"))
    return tuple(
        pattern_of(f"{name}: {key}", text, fnmatch.translate(text) if stars else "") for text in data.get(key, ())
    )
