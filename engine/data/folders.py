"""Finds the training pictures: sub-folders named REPEATS_WORDS, with pictures and caption files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.data.captions import USUAL_ENDINGS, caption_stems
from engine.data.opening import endings
from engine.data.scores import ENDING as SCORES

PICTURE_ENDINGS = endings()
OTHER_KINDS = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jfif", ".jp2", ".psd", ".svg")
"""Extensions of unsupported pictures, unless listed above: these are reported, not ignored."""

FOLDER_NAME = re.compile(r"(\d+)(?:_|\Z)(.*)", re.DOTALL)
"""(repeats, words), split by sd-scripts at the first underscore: 10_sks cat, or just 10, without words."""

_NEARLY_NUMBERED = re.compile(r"([1-9]\d{0,2})(?:\s+-\s*|[\s-]\s*)([^\s-].*)", re.DOTALL)
"""10 sks cat, 10-sks cat and 10 - sks cat.  More than three digits are probably a year, and 0 repeats are none."""

_OF_SYSTEMS = {
    "__macosx", "$recycle.bin", "recycler", "system volume information", "@eadir", "@recycle", "#recycle", "#snapshot",
    "@__thumb", "@tmp", "lost+found", "thumbs", "network trash folder", "temporary items", "__pycache__",
}  # fmt: skip


@dataclass(frozen=True)
class Concept:
    """One sub-folder: each of its pictures is seen `repeats` times per epoch.

    words: the text after the number, the caption of pictures without one.
    """

    folder: Path
    repeats: int
    words: str
    pictures: tuple[Path, ...]

    @property
    def weight(self) -> int:
        """Pictures times repeats."""
        return self.repeats * len(self.pictures)


@dataclass(frozen=True)
class ImageFolder:
    """The contents of an image folder.

    concepts: sub-folders with a number, by name.  switched_off: those whose number is 0.
    unnumbered: sub-folders with pictures that lack one.
    loose: pictures directly in the folder, where none are expected.
    """

    concepts: tuple[Concept, ...]
    switched_off: tuple[Path, ...]
    unnumbered: tuple[Path, ...]
    loose: tuple[Path, ...]

    @property
    def weight(self) -> int:
        return sum(concept.weight for concept in self.concepts)


def scan(folder: Path, loose_repeats: int | None = None) -> ImageFolder:
    """Scan an image folder, in the order of names; hidden and system folders are ignored.

    loose_repeats: if no sub-folder has a number, the pictures directly in the folder are a concept without words, with
    this many repeats; None: they never are.
    Raises OSError if it cannot be read.
    """
    concepts: list[Concept] = []
    switched_off: list[Path] = []
    unnumbered: list[Path] = []
    for child in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name)):
        name = FOLDER_NAME.fullmatch(child.name)
        pictures = pictures_in(child)
        if name and int(name[1]) > 0:
            concepts.append(Concept(child, int(name[1]), name[2].strip(), pictures))
        elif pictures:
            (switched_off if name else unnumbered).append(child)
    loose = pictures_in(folder)
    if loose and not concepts and loose_repeats is not None:
        concepts, loose = [Concept(folder, loose_repeats, "", loose)], ()
    return ImageFolder(tuple(concepts), tuple(switched_off), tuple(unnumbered), loose)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not the user's: hidden, like .git, or kept by the system."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """By name; without hidden files, such as the ._NAME.png that macOS creates next to NAME.png on foreign disks."""
    return tuple(
        sorted(
            Path(entry.path)
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(PICTURE_ENDINGS) and not entry.name.startswith(".") and _may_be_file(entry)
        )
    )


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """A circular link is listed, so that it is reported with the pictures that cannot be read."""
    try:
        return entry.is_file()
    except OSError:
        return True


def captions_without_picture(concept: Concept, ending: str) -> list[Path]:
    """Caption files whose picture is missing, usually because it was renamed."""
    stems = {stem for picture in concept.pictures for stem in (picture.name, *caption_stems(picture))}
    captions = (p for p in concept.folder.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))
    return sorted(p for p in captions if p.name[: -len(ending)] not in stems)


def of_other_kinds(folders: Iterable[Path]) -> list[Path]:
    """Pictures of unsupported kinds in the folders, such as .gif."""
    return sorted(
        Path(entry.path)
        for folder in set(folders)
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(OTHER_KINDS)
        and not entry.name.lower().endswith(PICTURE_ENDINGS)
        and not entry.name.startswith(".")
    )


def short(file: Path) -> str:
    """Enough of a path to find the file: its folder's name and its own."""
    return f"{file.parent.name}/{file.name}"


def move_into_concept(folder: Path, caption_ending: str, repeats: int = 10, words: str = "concept") -> Path:
    """Move loose pictures with their captions and scores into a sub-folder REPEATS_WORDS; returns it.

    Nothing is replaced: the sub-folder must be new or empty, or OSError is raised; a file that cannot be moved stays.
    """
    target = folder / f"{repeats}_{words}"
    if not target.is_dir() or any(target.iterdir()):
        target.mkdir(exist_ok=False)
    endings = dict.fromkeys([caption_ending, *USUAL_ENDINGS, SCORES])
    for picture in pictures_in(folder):
        for companion in (picture, *(picture.with_name(picture.stem + ending) for ending in endings)):
            if companion.exists():
                companion.rename(target / companion.name)
    return target


def with_number(name: str, repeats: int = 10) -> str:
    """A sub-folder's name as REPEATS_WORDS: a number at its start counts, if only the separator is wrong."""
    nearly = _NEARLY_NUMBERED.fullmatch(name)
    return f"{nearly[1]}_{nearly[2]}" if nearly else f"{repeats}_{name}"


def add_number(folder: Path, repeats: int = 10) -> Path:
    """Rename a sub-folder to with_number(); returns the new path."""
    target = folder.with_name(with_number(folder.name, repeats))
    if target.exists():
        raise FileExistsError(f"There is a folder {target} already.")
    return folder.rename(target)
