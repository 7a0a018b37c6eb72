"""Are there pictures where they are looked for, and can they be read?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engine.check.problem import Problem, counted, listed
from engine.data.captions import is_ending
from engine.data.examining import Examined, examine, examined, told
from engine.data.folders import PICTURE_ENDINGS, ImageFolder, captions_without_picture, scan, with_number
from engine.data.items import TrainingSet
from engine.data.masks import Masks
from engine.settings.dataset import Dataset
from engine.settings.training import TrainingSettings

MAKE_FOLDER = "Make the folder for me"
ADD_NUMBERS = "Add the numbers for me"
USE_PARENT = "Use the folder above"


def image_folder(settings: TrainingSettings, option: str) -> tuple[ImageFolder | None, list[Problem]]:
    """What stands in the image folder, or why that cannot be said."""
    name = str(settings.values()[option])
    if not name:
        return None, [Problem(option, "No image folder is chosen.", "Enter or choose one.")]
    path = Path(name)
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        return None, [Problem(option, f'"{name}" {what}.', "Correct the path.")]
    try:
        return scan(path, settings.loose_repeats() if option == "train_data_dir" else None), []
    except OSError as error:
        return None, [Problem(option, f'"{name}" cannot be read: {error.strerror}.', "Allow this program to read it.")]


def check_opposite(settings: TrainingSettings, by: str) -> Iterator[Problem]:
    """by: the option that says which pictures there are."""
    opposite = settings.applied("opposite_data_dir")
    if opposite and by != "train_data_dir":
        yield Problem(
            "opposite_data_dir",
            "A dataset config or metadata file takes the place of the folders, so the opposite is not learned.",
            "Clear it, or give a dataset of the config network_multiplier = -1.",
        )
    elif opposite and os.path.realpath(opposite) == os.path.realpath(settings.folders.train_data_dir):
        yield Problem(
            "opposite_data_dir",
            "It is the image folder itself, so both directions would cancel.",
            "Choose the folder of the opposite, or clear the field.",
        )


def check_pictures(folder: ImageFolder, settings: TrainingSettings, option: str) -> Iterator[Problem]:
    path = Path(str(settings.values()[option]))
    example = f'such as "{path.name}/10_{words_for(settings)}"'
    found = [picture for concept in folder.concepts for picture in concept.pictures]
    if not found:
        if folder.loose and path.name[:1].isdigit() and "_" in path.name:
            yield Problem(
                option,
                f'"{path}" is itself the folder with the pictures; its parent is the image folder.',
                "Choose the folder above it.",
                fix=USE_PARENT,
            )
        elif folder.loose:
            yield Problem(
                option,
                f'Found {len(folder.loose)} pictures directly in "{path}", but none in a sub-folder.',
                f"Training pictures go into a sub-folder named REPEATS_WORDS, {example}.",
                fix=MAKE_FOLDER,
            )
        elif folder.unnumbered:
            names = ", ".join(f'"{child.name}"' for child in folder.unnumbered[:3])
            new = with_number(folder.unnumbered[0].name)
            yield Problem(
                option,
                f"Found pictures in {names}, but none in a sub-folder named REPEATS_WORDS.",
                f'Rename it, such as "{path.name}/{new}".',
                fix=ADD_NUMBERS,
            )
        elif folder.switched_off:
            yield Problem(
                option,
                f'Every sub-folder with pictures, such as "{folder.switched_off[0].name}", has 0 repeats.',
                f"Start one of their names with a number of 1 or more, {example}.",
            )
        else:
            yield Problem(
                option,
                f'Found no pictures ({", ".join(PICTURE_ENDINGS)}) in "{path}".',
                "Put them there."
                if settings.loose_repeats()
                else f"Put them into a sub-folder named REPEATS_WORDS, {example}.",
            )
        return
    for child in folder.unnumbered:
        yield Problem(
            option,
            f'The pictures in "{child.name}" are left out: its name is not REPEATS_WORDS.',
            f'Rename it, such as "{with_number(child.name)}".',
            blocking=False,
            fix=ADD_NUMBERS,
        )
    for child in folder.switched_off:
        yield Problem(
            option,
            f'The pictures in "{child.name}" are left out: 0 repeats turn a folder off.',
            "Start its name with 1 or more to train on it.",
            blocking=False,
        )
    if folder.loose:
        yield Problem(
            option,
            f'{len(folder.loose)} pictures directly in "{path}" are left out.',
            "Move them into one of the sub-folders.",
            blocking=False,
        )
    yield from _looked_at(dict.fromkeys(found, settings.dataset), settings, option)
    ending = settings.dataset.caption_ending()
    concepts = folder.concepts if is_ending(ending) else ()
    orphans = [file for concept in concepts for file in captions_without_picture(concept, ending)]
    if orphans:
        yield Problem(
            "caption_extension",
            f"{len(orphans)} caption files have no matching picture: {listed(orphans)}.",
            "Was a picture renamed or removed?",
            blocking=False,
        )


def check_described(found: TrainingSet, settings: TrainingSettings, option: str) -> Iterator[Problem]:
    """What a list or a dataset config leads to; check_pictures() looks at folders."""
    for note in found.notes:
        yield Problem(option, note, blocking=False)
    of_each = {item.picture: item.subset.pictures for item in (*found.items, *found.held_out)}
    yield from _looked_at(of_each, settings, option)


def check_held_out(found: TrainingSet) -> Iterator[Problem]:
    """Whether a split holds out any picture at all."""
    splits = [item.subset.validation.validation_split for item in found.items if not item.is_regularisation]
    if any(splits) and not found.held_out:
        yield Problem(
            "validation_split",
            f"Validation split {max(splits):g} holds out no pictures: in each folder it comes to less than half a "
            "picture, or to all of them.",
            "Raise it, add pictures, or set it to 0.",
        )


def _looked_at(pictures: dict[Path, Dataset], settings: TrainingSettings, option: str) -> Iterator[Problem]:
    """pictures: each with the settings by which it is read."""
    found = examined(list(pictures), unless_whole=settings.dataset.keeps_latents())
    yield from _odd(found, option)
    if option != "reg_data_dir":
        yield from _unmasked(found, pictures)


def _odd(found: dict[Path, Examined], option: str) -> Iterator[Problem]:
    """What is left out and what is mended; only where nothing is left does it hinder the start."""
    for sentence in told(found, most=5):
        if all(one.left_out for one in found.values()):
            yield Problem(option, f"None of the pictures can be read. {sentence}", "Replace them.")
        else:
            yield Problem(option, sentence, blocking=False)


def _unmasked(found: dict[Path, Examined], pictures: dict[Path, Dataset]) -> Iterator[Problem]:
    """Masked loss without a mask: such pictures are learned whole."""
    masked = {picture: dataset.mask_dir for picture, dataset in pictures.items() if dataset.masked_loss}
    folders = {folder: Masks(Path(folder)) for folder in set(masked.values()) if folder}
    if any(not Path(folder).is_dir() for folder in folders):  # which has a sentence of its own
        return
    masks = {picture: folders[folder].of(picture) if folder else None for picture, folder in masked.items()}
    whole = [
        picture
        for picture, mask in masks.items()
        if not found[picture].left_out and not found[picture].see_through and not mask
    ]
    if whole:
        yield Problem(
            "masked_loss",
            f"{counted(len(whole), 'picture has no mask and is', 'pictures have no mask and are')} learned in full: "
            f"{listed(whole)}.",
            "Put masks with the same file names into the Mask folder, or make the parts that should not be learned "
            "transparent.",
            blocking=False,
        )
    broken = [mask for mask in masks.values() if mask and examine(mask).left_out]
    if broken:
        yield Problem("mask_dir", f"Masks that cannot be read: {listed(broken)}.", "Replace them.")


def words_for(settings: TrainingSettings) -> str:
    """Words for a new sub-folder: the output name says what is being taught, unless it is the default."""
    name = settings.folders.output_name.strip()
    return name if name and name != "last" and name.isprintable() and "/" not in name else "concept"
