"""The pictures of a run, each with what an epoch does with it.  Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from engine.data.captions import caption_of
from engine.data.examining import Examined
from engine.data.folders import ImageFolder


@dataclass(frozen=True)
class Item:
    """repeats: how often an epoch shows the picture.  words: of its folder, its caption where it has none.

    is_regularisation: it shows what the model is to keep, not what it is to learn.
    """

    picture: Path
    words: str
    repeats: int
    is_regularisation: bool = False


def items_of(folder: ImageFolder, regularisation: ImageFolder | None = None) -> list[Item]:
    """Every picture of every concept in the order of names, then the regularisation pictures, balanced."""
    own = _items(folder)
    if regularisation is None:
        return own
    return own + balanced(_items(regularisation), sum(item.repeats for item in own))


def balanced(pictures: list[Item], total: int) -> list[Item]:
    """Regularisation pictures with repeats such that an epoch shows `total` of them, as sd-scripts does it.

    They are taken in turn with their own repeats, until there are enough; while there are not, every picture in
    turn is shown once more.
    """
    repeats: list[int] = []
    shown = 0
    for item in pictures:
        if shown >= total:
            break
        repeats.append(item.repeats)
        shown += item.repeats
    while repeats and shown < total:
        for index in range(min(len(repeats), total - shown)):
            repeats[index] += 1
            shown += 1
    return [
        replace(item, repeats=count, is_regularisation=True) for item, count in zip(pictures, repeats, strict=False)
    ]


def readable(items: list[Item], found: dict[Path, Examined]) -> list[Item]:
    """Without the pictures that are left out."""
    return [item for item in items if not found[item.picture].left_out]


def captions_of(items: list[Item], ending: str) -> list[str]:
    """Every picture's caption.  Raises Failure where one cannot be read."""
    return [caption_of(item.picture, ending, item.words) for item in items]


def _items(folder: ImageFolder) -> list[Item]:
    return [
        Item(picture, concept.words, concept.repeats) for concept in folder.concepts for picture in concept.pictures
    ]
