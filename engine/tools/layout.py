"""Which file goes where when pictures are laid out for training: a plan, made before anything is copied."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.data.folders import Concept, pictures_in, scan
from engine.data.scores import ENDING as SCORES

COMPANIONS = (".txt", ".caption", ".cap", SCORES)
"""Endings of files that go along with their picture: captions, and its score."""


@dataclass(frozen=True)
class Copy:
    """One picture, and where it comes to stand.  companions: (file, where it comes to stand)."""

    picture: Path
    target: Path
    companions: tuple[tuple[Path, Path], ...] = ()


def concepts_in(folder: Path, words: str, repeats: int) -> list[Concept]:
    """What stands in a folder: sub-folders with their own number and words; those without a number under their own
    name, and pictures that lie directly in it under `words`, with `repeats`.  Raises OSError.
    """
    inside = scan(folder)
    unnumbered = [Concept(child, repeats, child.name, pictures_in(child)) for child in inside.unnumbered]
    loose = [Concept(folder, repeats, words, inside.loose)] if inside.loose else []
    return [*inside.concepts, *unnumbered, *loose]


def beside(folder: Path, what: str) -> Path:
    """A name for a new folder beside one, which a disk's root has none of."""
    return folder.parent / f"{folder.name or 'pictures'}-{what}"


def balanced(concepts: list[Concept], shown: int) -> list[Concept]:
    """With repeats such that an epoch shows about `shown` pictures of each, as kohya_ss rounds it."""
    return [
        replace(concept, repeats=max(1, round(shown / len(concept.pictures)))) if concept.pictures else concept
        for concept in concepts
    ]


def split_off(pictures: Iterable[Path], share: float, seed: int) -> tuple[list[Path], list[Path]]:
    """(for training, for validation): a share of them, at random but the same for a seed; one stays at least."""
    every = list(pictures)
    count = min(round(share * len(every)), max(0, len(every) - 1))
    chosen = set(random.Random(seed).sample(every, count))
    return [picture for picture in every if picture not in chosen], sorted(chosen)


class Plan:
    """Gathers copies; no two come to stand under one name.

    Names that differ in nothing but the ending, or in case, get numbers: else cat.png and cat.jpg would share a
    caption, and a converted one would replace the other.
    """

    def __init__(self, ending: str = "") -> None:
        """ending: of converted pictures; nothing where they keep their own."""
        self.copies: list[Copy] = []
        self._ending = ending
        self._taken: set[tuple[str, str]] = set()

    def add_concept(self, folder: Path, repeats: int, words: str, pictures: Iterable[Path]) -> None:
        """Pictures in a sub-folder REPEATS_WORDS."""
        self.add(folder / f"{repeats}_{words}", pictures)

    def add(self, folder: Path, pictures: Iterable[Path]) -> None:
        """Pictures in a folder, with their captions and scores."""
        for picture in pictures:
            stem = self._free(folder, picture.stem)
            beside = ((picture.with_name(picture.stem + end), folder / f"{stem}{end}") for end in COMPANIONS)
            companions = tuple((file, target) for file, target in beside if file.is_file())
            self.copies.append(Copy(picture, folder / f"{stem}{self._ending or picture.suffix}", companions))

    def _free(self, folder: Path, wanted: str) -> str:
        stem, number = wanted, 1
        while (key := (str(folder).casefold(), stem.casefold())) in self._taken:
            number += 1
            stem = f"{wanted}_{number}"
        self._taken.add(key)
        return stem
