"""sd-scripts' dataset_config: datasets with their own size and batch size, and their folders or lists with settings.

A value that a subset leaves out is its dataset's, otherwise the general one, otherwise the run's. Relative paths start
at the file's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from engine.data.captions import is_ending
from engine.data.folders import Concept, ImageFolder, pictures_in
from engine.data.items import Item, Subset, TrainingSet, items_of
from engine.data.metadata_list import listed_items
from engine.failure import Failure
from engine.reading import parse_json
from engine.settings.dataset_toml import ALPHA, MASKS, OF_DATASET, OPTIONS
from engine.settings.errors import SettingsFileError
from engine.settings.paths import typed_path, why_unusable
from engine.settings.text_files import TooLarge, small_text
from engine.settings.toml_files import parse_toml
from engine.settings.training import TrainingSettings, training_options
from engine.settings.values import BadValues

OPTION = "dataset_config"
LARGEST = 2**20
"""Bytes: five thousand folders with their own settings."""
MOST_REPEATS = 1_000_000

NOT_FOLLOWED = (
    "cache_info", "custom_attributes",
    "resize_interpolation",
)  # fmt: skip
"""Keys that sd-scripts knows but that have no effect here."""

STRENGTH = "network_multiplier"
"""Of the network while a dataset is learned."""

MOST_STRENGTH = 10.0

_ANYWHERE = {*OPTIONS, "num_repeats", "class_tokens", STRENGTH, *NOT_FOLLOWED}
_OF_EITHER = {"validation_split", "validation_seed"}
"""sd-scripts' documentation puts them in a subset, its parser in a dataset."""
_IN_SUBSET = (_ANYWHERE - (set(OF_DATASET) - _OF_EITHER) - {STRENGTH}) | {
    "image_dir", "metadata_file", "is_reg", ALPHA, MASKS,
}  # fmt: skip


@dataclass(frozen=True)
class _Table:
    """A subset with everything that applies to it.  where: for messages.  dataset: its dataset's number, from 0."""

    where: str
    dataset: int
    values: Mapping[str, Any]

    def wrong(self, what: str, mend: str = "Correct the file.") -> Failure:
        return Failure(f"{self.where}: {what}", mend, OPTION)

    def text(self, key: str) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(f"{key} is {value!r}; it takes text.")
        return value


def read_dataset_config(file: Path, settings: TrainingSettings) -> TrainingSet:
    """The pictures of every dataset, each one's regularisation pictures balanced.  Raises Failure.

    What sd-scripts ignores is left out with a note: a subset without repeats or pictures, or one that is already in
    its dataset.
    """
    datasets: list[tuple[list[Item], list[Item]]] = []
    notes: list[str] = []
    tables = list(_tables(file))
    for number in dict.fromkeys(table.dataset for table in tables):
        own: list[Item] = []
        regularisation: list[Item] = []
        known: set[str] = set()
        for table in (table for table in tables if table.dataset == number):
            source = table.text("metadata_file") or table.text("image_dir")
            if source in known:
                notes.append(f'{table.where}: "{source}" is listed twice; the second time is ignored.')
                continue
            known.add(source)
            found = _items(table, file.parent, settings)
            if not found:
                notes.append(f'{table.where}: "{source}" has no pictures or 0 repeats, and is left out.')
            (regularisation if _switch(table, "is_reg") else own).extend(found)
        datasets.append((own, regularisation))
    waiting = {item.name for item in training_options() if not item.acts}
    unfollowed = {*NOT_FOLLOWED, *(key for key, name in OPTIONS.items() if name in waiting)}
    said = {key for table in tables for key, value in table.values.items() if key in unfollowed and value}
    notes += [f"{file.name}: {key} has no effect." for key in sorted(said)]
    if settings.method != "lora" and any(STRENGTH in table.values for table in tables):
        notes.append(f"{file.name}: {STRENGTH} only has an effect with a LoRA.")
    if not settings.dataset.masked_loss and any(MASKS in table.values for table in tables):
        notes.append(f"{file.name}: {MASKS} only has an effect with Masked loss, which is off.")
    if not any(own for own, _ in datasets):
        raise Failure(f"{file.name} contains no pictures to learn from. {' '.join(notes[:3])}".strip(), option=OPTION)
    return TrainingSet.of_datasets(datasets, tuple(notes))


def _items(table: _Table, beside: Path, settings: TrainingSettings) -> list[Item]:
    subset, repeats = _subset(table, settings, beside), _repeats(table, settings)
    listed, named = table.text("metadata_file"), table.text("image_dir")
    for key, text in (("metadata_file", listed), ("image_dir", named)):
        if why := why_unusable(text, beside):
            raise table.wrong(f"{key} {why}.", "Put the path on this machine into the file.")
    folder = beside / typed_path(named) if named else None
    if listed:
        return listed_items(beside / typed_path(listed), folder, repeats, subset, OPTION) if repeats else []
    if folder is None:
        raise table.wrong("it names no image_dir.")
    try:
        concept = Concept(folder, repeats, table.text("class_tokens"), pictures_in(folder))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise table.wrong(f'image_dir "{folder}" cannot be read: {why}.', "Correct the path.") from None
    return items_of(ImageFolder((concept,), (), (), ()), subset) if repeats else []


def _subset(table: _Table, settings: TrainingSettings, beside: Path) -> Subset:
    """The settings, overridden by the table's values.

    Its masks count if masked loss is on, which its own transparency option turns on for it alone.
    """
    values = {OPTIONS[key]: _plain(value) for key, value in table.values.items() if key in OPTIONS}
    if _switch(table, ALPHA):
        values["masked_loss"] = True
    if masks := table.text(MASKS):
        folder = beside / typed_path(masks)
        if not folder.is_dir():
            raise table.wrong(f'{MASKS} "{folder}" is not a folder.', "Correct the path.")
        values["mask_dir"] = str(folder)
    try:
        own = settings.with_values(values)
        own.dataset.size()
        own.dataset.face_range()
        if not is_ending(ending := own.dataset.caption_ending()):
            raise table.wrong(f'"{ending}" cannot be a file extension (caption_extension).')
    except BadValues as error:
        keys = [key for key, name in OPTIONS.items() if name in error.problems]
        raise table.wrong(f"{', '.join(keys)}: {' '.join(error.problems.values())}") from None
    except ValueError as error:
        raise table.wrong(str(error)) from None
    return replace(Subset.of(own, table.dataset), strength=_strength(table))


def _strength(table: _Table) -> float:
    value = table.values.get(STRENGTH, 1.0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < abs(value) <= MOST_STRENGTH:
        limits = f"a number from -{MOST_STRENGTH:g} to {MOST_STRENGTH:g} that is not 0"
        raise table.wrong(f"{STRENGTH} is {value!r}; it takes {limits}.")
    return float(value)


def _plain(value: Any) -> Any:
    """[768, 512] as "768,512"."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _repeats(table: _Table, settings: TrainingSettings) -> int:
    """num_repeats, otherwise the run's value for pictures in lists, which is 1 unless it is fine-tuning."""
    usual = settings.whole_model.dataset_repeats if settings.method == "finetune" else 1
    repeats = table.values.get("num_repeats", usual)
    if not isinstance(repeats, int) or isinstance(repeats, bool):
        raise table.wrong(f"num_repeats is {repeats!r}; it takes a whole number.")
    if repeats > MOST_REPEATS:
        raise table.wrong(f"num_repeats is {repeats}; it takes at most {MOST_REPEATS}.")
    return max(0, repeats)


def _switch(table: _Table, key: str) -> bool:
    value = table.values.get(key, False)
    if not isinstance(value, bool):
        raise table.wrong(f"{key} is {value!r}; it takes true or false.")
    return value


def _tables(file: Path) -> Iterator[_Table]:
    """Every subset, its own values overriding its dataset's, and those the general ones."""
    data = _read(file)
    general = _known(data.get("general", {}), file.name, _ANYWHERE, "[general]")
    _known(dict.fromkeys(data), file.name, {"general", "datasets"}, "a dataset config")
    for number, dataset in enumerate(_listed(data, "datasets", file.name)):
        where = f"{file.name}, dataset {number + 1}"
        shared = _known(dataset, where, _ANYWHERE | {"subsets"}, "[[datasets]]")
        subsets = _listed(dataset, "subsets", where)
        if len({"metadata_file" in subset for subset in subsets if isinstance(subset, dict)}) > 1:
            raise Failure(
                f"{where} mixes folders and lists (metadata_file).", "Put them into separate datasets.", OPTION
            )
        for place, subset in enumerate(subsets, 1):
            own = _known(subset, f"{where}, subset {place}", _IN_SUBSET, "[[datasets.subsets]]")
            values = {**general, **{key: value for key, value in shared.items() if key != "subsets"}, **own}
            yield _Table(f"{where}, subset {place}", number, values)


def _read(file: Path) -> dict[str, Any]:
    try:
        text = small_text(file, LARGEST)
        data = parse_json(text.encode()) if file.suffix.lower() == ".json" else parse_toml(text, file.name)
    except SettingsFileError as error:
        raise Failure(str(error), "Correct the file.", OPTION) from None
    except TooLarge:
        raise Failure(f"{file.name} is too large for a dataset config.", "Choose another file.", OPTION) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Failure(f'"{file}" cannot be read: {why}.', "Correct the path.", OPTION) from None
    if not isinstance(data, dict):
        raise Failure(
            f"{file.name} is not a dataset config.", "A dataset config contains [general] and [[datasets]].", OPTION
        )
    return data


def _listed(table: Mapping[str, Any], key: str, where: str) -> list[Any]:
    found = table.get(key)
    if not isinstance(found, list) or not found:
        raise Failure(f"{where} has no [[{key}]].", "Correct the file.", OPTION)
    return found


def _known(table: Any, where: str, keys: set[str], place: str) -> dict[str, Any]:
    """The table, if it has no other keys than these."""
    if not isinstance(table, dict):
        raise Failure(f"{where}: {place} is not a table of keys and values.", "Correct the file.", OPTION)
    for key in table:
        if key in keys:
            continue
        similar = get_close_matches(key, keys, n=1)
        mend = f"Did you mean {similar[0]}?" if similar else "Remove it."
        if key in _ANYWHERE | _IN_SUBSET:
            mend = "It belongs in [[datasets.subsets]]." if key in _IN_SUBSET else "It belongs in [[datasets]]."
        raise Failure(f"{where}: {key} is not known in {place}.", mend, OPTION)
    return table
