"""Finds the training pictures: sub-folders named REPEATS_WORDS, with pictures and caption files."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_FOLDER_NAME = re.compile(r"(\d+)_(.*)", re.DOTALL)


@dataclass(frozen=True)
class Concept:
    """One sub-folder: its pictures are each seen `repeats` times an epoch.

    words: what stands behind the number, the caption of pictures that have none.
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
    """What stands in an image folder.

    concepts: sub-folders with a number, by name.  switched_off: those whose number is 0.
    unnumbered: sub-folders with pictures that lack one.
    loose: pictures directly in the folder, where none is looked for.
    """

    concepts: tuple[Concept, ...]
    switched_off: tuple[Path, ...]
    unnumbered: tuple[Path, ...]
    loose: tuple[Path, ...]

    @property
    def weight(self) -> int:
        return sum(concept.weight for concept in self.concepts)


def scan(folder: Path) -> ImageFolder:
    """Look through an image folder, in the order of names.  Raises OSError where it cannot be read."""
    concepts: list[Concept] = []
    switched_off: list[Path] = []
    unnumbered: list[Path] = []
    for child in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        name = _FOLDER_NAME.fullmatch(child.name)
        pictures = pictures_in(child)
        if name and int(name[1]) > 0:
            concepts.append(Concept(child, int(name[1]), name[2].strip(), pictures))
        elif pictures:
            (switched_off if name else unnumbered).append(child)
    return ImageFolder(tuple(concepts), tuple(switched_off), tuple(unnumbered), pictures_in(folder))


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """By name; hidden files are left out, such as the ._NAME.png that macOS puts beside NAME.png on foreign disks."""
    return tuple(
        sorted(
            Path(entry.path)
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(PICTURE_ENDINGS) and not entry.name.startswith(".") and entry.is_file()
        )
    )


def captions_without_picture(concept: Concept, ending: str) -> list[Path]:
    """Caption files whose picture is missing, usually after a picture was renamed."""
    stems = {picture.stem for picture in concept.pictures}
    captions = (p for p in concept.folder.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))
    return sorted(p for p in captions if p.name[: -len(ending)] not in stems)


def unreadable(pictures: list[Path]) -> dict[Path, str]:
    """The pictures that cannot be decoded, each with the reason in a few words."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        reasons = pool.map(_reason_unreadable, pictures)
    return {picture: reason for picture, reason in zip(pictures, reasons, strict=True) if reason}


def _reason_unreadable(picture: Path) -> str:
    try:
        stat = picture.stat()
    except OSError as error:
        return str(error.strerror)
    return _decode(picture, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=100_000)
def _decode(picture: Path, _modified: int, size: int) -> str:
    if size == 0:
        return "the file is empty"
    try:
        with Image.open(picture) as image:
            image.draft("RGB", (64, 64))  # JPEG alone can decode a small version, much sooner
            image.load()
    except Image.DecompressionBombError:
        return "it has far too many pixels"
    except Exception as error:  # pillow's decoders raise many kinds, SyntaxError and struct.error among them
        return str(error).split(" '", 1)[0] or type(error).__name__
    return ""


def move_into_concept(folder: Path, caption_ending: str, repeats: int = 10, words: str = "concept") -> Path:
    """Put loose pictures and their captions into a sub-folder REPEATS_WORDS; returns it.

    Nothing is replaced: the sub-folder is new or empty, else OSError; a file that cannot be moved stays where it is.
    """
    target = folder / f"{repeats}_{words}"
    if not target.is_dir() or any(target.iterdir()):
        target.mkdir(exist_ok=False)
    endings = dict.fromkeys([caption_ending, ".txt", ".caption", ".cap"])
    for picture in pictures_in(folder):
        for companion in (picture, *(picture.with_name(picture.stem + ending) for ending in endings)):
            if companion.exists():
                companion.rename(target / companion.name)
    return target


def add_number(folder: Path, repeats: int = 10) -> Path:
    """Rename a sub-folder "cat" to "10_cat"; returns the new path."""
    target = folder.with_name(f"{repeats}_{folder.name}")
    if target.exists():
        raise FileExistsError(f"There is a folder {target} already.")
    return folder.rename(target)
