"""Fine-tuning's lists: a JSON file that names pictures with their captions and tags, as sd-scripts reads it.

meta_cap.json and meta_lat.json hold {PICTURE: {"caption": …, "tags": …}}; a .jsonl file holds the same, one line
per picture, named by "image_path". "train_resolution", the bucket that sd-scripts' preparation chose, and "image_size"
are ignored: as in sd-scripts today, buckets come from the picture and the settings.  "aesthetic_score" is ours.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from engine.data.folders import PICTURE_ENDINGS
from engine.data.items import Item, Subset
from engine.data.scores import KEY, as_score
from engine.failure import Failure
from engine.reading import parse_json, refuse_many_values, small_bytes
from engine.settings.paths import system_of

OPTION = "in_json"
MOST_NAMED = 5
LARGEST = 2**29
"""Bytes: a million pictures with captions of five hundred letters."""
MOST_VALUES = 20_000_000
"""Values in a list: a million pictures with twenty values, which take some 4 GB of memory at worst."""


def listed_items(file: Path, image_dir: Path | None, repeats: int, subset: Subset, option: str = OPTION) -> list[Item]:
    """The listed pictures in the order of the list.

    image_dir: the base of relative names; None: the list's folder.  option: the one that failures are about.
    Raises Failure if the list cannot be read, has the wrong form, or names pictures that do not exist.
    """
    folder = image_dir or file.parent
    items, missing = [], []
    for name, entry in _entries(file, option).items():
        picture = listed_picture(folder / name)
        if picture is None:
            missing.append(name)
        else:
            caption = _caption(file, name, entry, subset, option)
            score = _score(file, name, entry, subset, option)
            items.append(Item(picture, "", repeats, caption=caption, subset=subset, score=score))
    if foreign := next((name for name in missing if system_of(name, folder)), ""):
        raise Failure(
            f'{file.name} lists pictures by {system_of(foreign, folder)} paths, such as "{foreign}": it comes from '
            "another machine.",
            f'Create the list on this machine, or use only file names in it, which are looked up in "{folder}".',
            option,
        )
    if missing:
        named = ", ".join(f'"{name}"' for name in missing[:MOST_NAMED])
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        raise Failure(
            f"{file.name} lists pictures that do not exist: {named}{more}.",
            f'Names without a full path are looked up in "{folder}".',
            option,
        )
    if not items:
        raise Failure(f"{file.name} lists no pictures.", "Choose another file.", option)
    return items


def _entries(file: Path, option: str) -> dict[str, dict[str, Any]]:
    """Each picture's entry, by its name in the list."""
    try:
        text = small_bytes(file, LARGEST)
        data = _lines(text) if file.suffix.lower() == ".jsonl" else parse_json(text, MOST_VALUES)
    except OSError as error:
        raise Failure(f'"{file}" cannot be read: {error.strerror}.', "Choose another file.", option) from None
    except UnicodeDecodeError:
        raise Failure(f"{file.name} is not UTF-8 text.", "Save it as UTF-8.", option) from None
    except ValueError as error:
        raise Failure(f"{file.name} is not valid JSON: {error}.", "It may be cut off.", option) from None
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise Failure(
            f"{file.name} is not a list of pictures.",
            'Such a list has the form {"PICTURE": {"caption": "…", "tags": "…"}, …}.',
            option,
        )
    return data


def _lines(text: bytes) -> dict[str, Any]:
    """A .jsonl file's pictures by name.  Raises ValueError naming an invalid line."""
    data = {}
    refuse_many_values(text, MOST_VALUES)
    for number, line in enumerate(io.BytesIO(text), 1):
        if line.strip():
            entry = parse_json(line)
            if not isinstance(entry, dict) or not isinstance(entry.get("image_path"), str):
                raise ValueError(f'line {number} has no "image_path"')
            data[entry["image_path"]] = entry
    return data


def listed_picture(path: Path) -> Path | None:
    """The file of a picture that may be listed without extension, as kohya_ss lists those of one folder."""
    try:
        if path.suffix.lower() in PICTURE_ENDINGS and path.is_file():
            return path
        named = (path.with_name(path.name + ending) for ending in PICTURE_ENDINGS)
        return next((file for file in named if file.is_file()), None)
    except (OSError, ValueError):  # an impossible file name
        return None


def _score(file: Path, name: str, entry: dict[str, Any], subset: Subset, option: str) -> float | None:
    """Where nothing asks for scores, what another program means by the word is no reason to refuse its list."""
    try:
        return None if entry.get(KEY) is None else as_score(entry[KEY])
    except ValueError:
        if not subset.taste.used():
            return None
        raise Failure(f'{file.name}: {KEY} of "{name}" must be a number.', "Correct the entry.", option) from None


def _caption(file: Path, name: str, entry: dict[str, Any], subset: Subset, option: str) -> str:
    """Caption and tags joined by the separator; with wildcards, the tags follow each of the caption's lines."""
    caption, tags = ("" if entry.get(key) is None else entry[key] for key in ("caption", "tags"))
    if not isinstance(caption, str) or not isinstance(tags, str):
        raise Failure(f'{file.name}: caption and tags of "{name}" must be text.', "Correct the entry.", option)
    separator = subset.captions.caption_separator
    if subset.captions.enable_wildcard and "tags" in entry and entry["tags"] is not None:
        tags = tags.replace("\n", separator)
        return "\n".join(f"{line}{separator}{tags}" for line in caption.split("\n") if line.strip())
    return separator.join(filter(None, (caption, tags)))
