"""sd-scripts' dataset_config: image folders with settings of their own, as far as ours can say it.

Our settings have one image folder whose sub-folders are named REPEATS_WORDS, and one value of each option for
all of them. A file that says more is read as far as that goes, told about, and kept; a run that names it as its
dataset_config follows it whole (data/dataset_config.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from engine.settings.sd_scripts import ONLY_THERE
from engine.settings.sd_scripts_read import Read
from engine.settings.shell_words import quoted, words_from
from engine.settings.toml_files import toml_text
from engine.settings.training import TrainingSettings

OPTIONS: Mapping[str, str] = {
    # The config's key: the option's.
    "resolution": "max_resolution",
    "batch_size": "train_batch_size",
    **{
        name: name
        for name in (
            "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale",
            "validation_split", "validation_seed",
            "shuffle_caption", "keep_tokens", "caption_extension", "color_aug", "flip_aug", "random_crop",
            "face_crop_aug_range",
            "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "caption_prefix",
            "caption_suffix", "caption_separator", "keep_tokens_separator", "secondary_separator", "enable_wildcard",
            "token_warmup_min", "token_warmup_step",
        )
    },
}  # fmt: skip
OF_DATASET = tuple(OPTIONS)[:9]
"""Keys that stand in [[datasets]] and not in a subset."""

MASKS = "conditioning_data_dir"
"""A subset's folder of masks, for training with masked loss."""

ALPHA = "alpha_mask"
"""Whether a subset's pictures are learned as far as they are opaque, which is masked loss without masks of its own."""

_PLACE = {"image_dir", "num_repeats", "class_tokens", "is_reg", MASKS, ALPHA}
_FOLDER_NAME = re.compile(r"(\d{1,9})(?:_|\Z)(.*)", re.DOTALL)


def read_dataset(data: Mapping[str, Any]) -> Read:
    """A dataset_config's tables as kohya_ss's keys and values; nothing is assumed for what it leaves out."""
    read = Read()
    subsets = list(_subsets(data))
    training = [subset for subset in subsets if not subset.get("is_reg")]
    lost = not training
    if lost:
        read.notes.append("The dataset config names no image folder.")
    for option, label, folders in (
        ("train_data_dir", "Image folder", training),
        ("reg_data_dir", "Regularisation directory", [subset for subset in subsets if subset.get("is_reg")]),
    ):
        parent, why = _common_folder(folders)
        lost |= bool(why)
        read.notes += [f"{label}: {sentence}" for sentence in why]
        if parent and not why:
            read.data[option] = parent
            read.notes += _also_there(parent, folders)
    masks, unlike = _mask_folder(training)
    if masks:
        read.data["mask_dir"] = masks
    if unlike:
        read.notes.append(unlike)
        lost = True
    transparent = {bool(subset.get(ALPHA)) for subset in training}
    if transparent == {True}:
        read.data["masked_loss"] = True
    elif True in transparent:
        read.notes.append(
            f"{ALPHA} differs between the image folders, but there is only one value for all of them here: not set."
        )
        lost = True
    further: dict[str, Any] = {}
    for key in sorted({key for subset in training for key in subset} - _PLACE):
        values = [subset.get(key) for subset in training]
        if any(value != values[0] for value in values):
            listed = ", ".join(str(value) for value in dict.fromkeys(map(str, values)))
            read.notes.append(
                f"{key} differs between the image folders ({listed}), but there is only one value for "
                "all of them here: not set."
            )
            lost = True
        elif key in OPTIONS:
            read.data[OPTIONS[key]] = ",".join(map(str, values[0])) if isinstance(values[0], list) else values[0]
        elif key in ONLY_THERE and not isinstance(values[0], dict):
            further[key] = values[0]
        else:
            read.notes.append(f"There is no option here for {key} in the dataset config.")
            lost = True
    if further:
        read.data["additional_parameters"] = quoted(words_from(further))
        read.notes.append(
            f"Kept in Additional parameters, because there is no option for it: {quoted(words_from(further))}"
        )
    if lost:
        read.data |= data
        read.notes.append("To use all of it, choose it as the Dataset config file.")
    return read


def write_dataset(settings: TrainingSettings) -> tuple[str, list[str]]:
    """(a dataset_config, sentences on what could not be written) of the folders that are there now."""
    values, notes = settings.values(), []
    said = {key: values[option] for key, option in OPTIONS.items()}
    width, height = settings.dataset.size()
    said["resolution"] = [width, height] if width != height else width
    faces = settings.dataset.face_range()
    said["face_crop_aug_range"] = list(faces) if faces else None
    by_alpha = {ALPHA: True} if values["masked_loss"] and not values["mask_dir"] else {}
    subsets = []
    for option, is_reg in (("train_data_dir", False), ("reg_data_dir", True)):
        folder = Path(os.path.expanduser(values[option].strip().strip('"')))
        if not values[option].strip():
            continue
        try:
            children = sorted(child for child in folder.iterdir() if child.is_dir())
        except (OSError, ValueError):
            notes.append(f"{folder} cannot be read on this machine, so its sub-folders are missing.")
            continue
        for child in children:
            if repeats := _repeats(child.name):
                words = child.name.partition("_")[2].strip()
                subset = {"image_dir": str(child), "num_repeats": repeats, "class_tokens": words}
                subsets.append(subset | ({"is_reg": True} if is_reg else {}) | by_alpha)
    if not subsets:
        notes.append("No image folder is listed: it needs a sub-folder named REPEATS_WORDS.")
    of_dataset = {key: value for key, value in said.items() if key in OF_DATASET}
    general = {key: value for key, value in said.items() if key not in OF_DATASET and value is not None}
    return toml_text({"general": general, "datasets": [{**of_dataset, "subsets": subsets}]}), notes


def _subsets(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every subset with all that holds for it: its own word counts before its dataset's and that before the general."""
    general = _table(data.get("general"))
    for dataset in map(_table, _list(data.get("datasets"))):
        shared = {key: value for key, value in dataset.items() if key != "subsets"}
        for subset in map(_table, _list(dataset.get("subsets"))):
            yield {**general, **shared, **subset}


def _common_folder(subsets: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """(the folder that holds all of them as REPEATS_WORDS, why not: a sentence for each that does not fit)."""
    parents: dict[PurePath, None] = {}
    why = []
    for subset in subsets:
        path = _path(str(subset.get("image_dir", "")))
        repeats, words = subset.get("num_repeats", 1), str(subset.get("class_tokens") or "")
        name = _FOLDER_NAME.fullmatch(path.name)
        parents[path.parent] = None
        if not name or int(name[1]) != repeats or (name[2].strip() != words and words):
            why.append(
                f"Rename {path} to {repeats}_{words}: here the repeats and the words are part of the folder's name."
            )
    if not why and len(parents) > 1:
        why.append(f"the folders are in {', '.join(map(str, parents))}; here they must be in one folder.")
    return str(next(iter(parents), "")), why


def _mask_folder(subsets: list[dict[str, Any]]) -> tuple[str, str]:
    """(the folder that holds the masks of all, why there is none: a sentence where there are masks nevertheless)."""
    named = [str(subset.get(MASKS) or "") for subset in subsets]
    if not any(named):
        return "", ""
    if len(set(named)) == 1:
        return named[0], ""
    folders = [_path(folder) for folder in named]
    are_alike = [
        folder.name == _path(str(subset.get("image_dir", ""))).name
        for folder, subset in zip(folders, subsets, strict=True)
    ]
    if all(are_alike) and len({folder.parent for folder in folders}) == 1:
        return str(folders[0].parent), ""
    listed = ", ".join(dict.fromkeys(folder or "none" for folder in named))
    return "", f"{MASKS} differs between the image folders ({listed}); here all masks must be in one Mask folder."


def _also_there(parent: str, subsets: list[dict[str, Any]]) -> list[str]:
    """What lies beside the folders that the config lists, and would be trained on too."""
    listed = {_path(str(subset["image_dir"])).name for subset in subsets}
    try:
        found = sorted(child.name for child in Path(parent).iterdir() if child.is_dir())
    except (OSError, ValueError):
        return []
    more = [name for name in found if name not in listed and _repeats(name)]
    return (
        [f"{parent} also contains {', '.join(more)}, which the config leaves out but training here would use."]
        if more
        else []
    )


def _repeats(folder_name: str) -> int:
    """0 for a folder whose pictures are not trained on."""
    name = _FOLDER_NAME.fullmatch(folder_name)
    return int(name[1]) if name else 0


def _path(text: str) -> PurePath:
    return PureWindowsPath(text) if re.match(r"[A-Za-z]:|\\\\", text) else PurePath(text)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
