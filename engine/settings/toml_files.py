"""TOML as sd-scripts reads it: a script's arguments (its --config_file), flat or in sections.

What its arguments cannot say stands in a section of ours, [darkroom.kept], under kohya_ss's keys. sd-scripts
leaves sections within sections alone, so that the same file serves both.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from engine.settings.errors import SettingsFileError
from engine.settings.sd_scripts_read import Read, from_arguments

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OURS = "darkroom"

LARGEST_TOML = 2**19
"""Letters, of two thousand folders with settings of their own; reading as many takes up to ten seconds."""

MOST_PARTS = 4
"""Of a key such as a.b.c: settings have three.  The time and memory that one takes grow with the square of them."""

_TEXTS = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*(?:"""|\Z)|\'{3}(?:[^']|'(?!\''))*(?:\'{3}|\Z)'''
    r"""|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|\#[^\n]*""",
    re.DOTALL,
)
_PART = r"""(?:[A-Za-z0-9_-]+|"")"""
_TOO_DEEP = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{{MOST_PARTS}}}")


def parse_toml(text: str, name: str = "The file") -> dict[str, Any]:
    """The file's tables; dates, which no setting is, as text.  Raises SettingsFileError."""
    if len(text) > LARGEST_TOML:
        raise SettingsFileError(f"{name} is {len(text) / 2**20:.0f} MB; a TOML settings file is only a few KB.")
    if _TOO_DEEP.search(_TEXTS.sub('""', text)):
        raise SettingsFileError(f"{name} is not a settings file: a key in it has more than {MOST_PARTS} parts.")
    try:
        return {key: _without_dates(value) for key, value in tomllib.loads(text).items()}
    except RecursionError:
        raise SettingsFileError(f"{name} is not a settings file: it is nested too deeply.") from None
    except ValueError as error:  # tomllib's own, and numbers of thousands of digits
        line = re.search(r"at line (\d+)", str(error))
        where = f" in line {line[1]}" if line else ""
        mend = "it may be cut off or have an editing mistake"
        if line and re.search(r'"[^"]*\\', text.splitlines()[int(line[1]) - 1]):
            mend = "in TOML, put a path with backslashes in single quotes, or use / instead"
        raise SettingsFileError(f"{name} is not valid TOML{where}; {mend}.") from None


def looks_like_toml(text: str) -> bool:
    """Whether the first line that says something is a section or a KEY = VALUE, as no JSON has it."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return bool(re.match(r"""\[\[?[\w."' -]+\]\]?\s*(#.*)?$|[\w."'-]+\s*=""", first))


def is_dataset(data: Mapping[str, Any]) -> bool:
    """Whether it is a dataset_config and not arguments."""
    if OURS in data:
        return False
    return isinstance(data.get("datasets"), list) or (bool(data) and set(data) <= {"general", "datasets"})


def read_config(data: Mapping[str, Any], folder: Path | None = None) -> Read:
    """A --config_file's tables as kohya_ss's keys and values."""
    ours = data.get(OURS)
    ours = ours if isinstance(ours, dict) else {}
    kept = ours.get("kept") if isinstance(ours.get("kept"), dict) else {} if ours else None
    script = ours.get("script")
    return from_arguments(flat(data), script if isinstance(script, str) else "", folder, kept, keep_unknown=True)


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """The sections joined into one, as sd-scripts joins them: their names mean nothing to it."""
    arguments: dict[str, Any] = {}
    for name, value in data.items():
        if name != OURS:
            arguments |= value if isinstance(value, dict) else {name: value}
    return arguments


def config_text(arguments: Mapping[str, Any], script: str, kept: Mapping[str, Any]) -> str:
    """A --config_file with these arguments, and what we keep beside them."""
    ours = {"script": script, **({"kept": without_none(kept)} if kept else {})}
    return toml_text({**without_none(arguments), OURS: ours})


def toml_text(data: Mapping[str, Any]) -> str:
    return tomli_w.dumps(dict(data), multiline_strings=False)


def without_none(value: Any) -> Any:
    """TOML has no word for None; a key that is missing says the same."""
    if isinstance(value, Mapping):
        return {str(key): without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_none(inner) for inner in value if inner is not None]
    return value


def _without_dates(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_dates(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_dates(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
