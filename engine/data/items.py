"""The pictures of a run, each with its repeats and settings.  Needs no torch.

Whatever describes them, folders or lists, results in these: see training_set.py.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.data.buckets import Placed, Size
from engine.data.captions import caption_of
from engine.data.examining import Examined
from engine.data.folders import ImageFolder
from engine.data.placing import placed
from engine.data.scores import score_of
from engine.failure import Failure
from engine.settings.captions import Captions
from engine.settings.dataset import Dataset
from engine.settings.taste import Taste
from engine.settings.training import TrainingSettings
from engine.settings.validation import Validation


@dataclass(frozen=True)
class Subset:
    """The settings that pictures treated alike have in common.

    dataset: its number; a batch contains pictures of one dataset, at most its batch_size.
    strength: that the network has while these pictures are learned.
    pictures, captions: how they are read.  taste: what their scores mean.  validation: how many of them are held out.
    Training size and buckets are the same for a whole dataset.
    """

    dataset: int = 0
    batch_size: int = 1
    pictures: Dataset = field(default_factory=Dataset)
    captions: Captions = field(default_factory=Captions)
    taste: Taste = field(default_factory=Taste)
    validation: Validation = field(default_factory=Validation)
    strength: float = 1.0

    @classmethod
    def of(cls, settings: TrainingSettings, dataset: int = 0) -> Subset:
        """From the settings."""
        s = settings
        return cls(dataset, s.optimizer.train_batch_size, s.dataset, s.captions, s.taste, s.validation)


@dataclass(frozen=True)
class Item:
    """repeats: how often an epoch shows the picture.  words: of its folder, used if it has no caption.

    is_regularisation: it shows what the model should keep, not what it should learn.
    caption: if given in a list; None: it is next to the picture.
    score: its aesthetic score; None where it has none, or nothing asks for it.
    """

    picture: Path
    words: str
    repeats: int
    is_regularisation: bool = False
    caption: str | None = None
    subset: Subset = field(default_factory=Subset, compare=False)
    score: float | None = None

    def bucket(self, place: Placed) -> tuple[int, Size]:
        """What it shares with the pictures that may be in a batch with it."""
        return self.subset.dataset, place.bucket


@dataclass(frozen=True)
class TrainingSet:
    """What a run learns from.  notes: sentences on what was left out, and why.

    held_out: pictures for the validation loss, which nothing is learned from.
    """

    items: list[Item]
    notes: tuple[str, ...] = ()
    held_out: list[Item] = field(default_factory=list)

    @classmethod
    def of(cls, own: list[Item], regularisation: Sequence[Item] = (), notes: tuple[str, ...] = ()) -> TrainingSet:
        """The training pictures without held-out ones, then the regularisation pictures, balanced."""
        return cls.of_datasets([(own, regularisation)], notes)

    @classmethod
    def of_datasets(
        cls, datasets: Sequence[tuple[Sequence[Item], Sequence[Item]]], notes: tuple[str, ...] = ()
    ) -> TrainingSet:
        """Each dataset as from of().  datasets: (own pictures, regularisation pictures).

        Nothing is learned from a held-out picture, wherever else it is listed; a note says so.
        """
        given = [item for own, _ in datasets for item in own]
        datasets = [(_scored(own), regularisation) for own, regularisation in datasets]
        notes = (*notes, *_below_threshold(given, [item for own, _ in datasets for item in own]))
        out = [_held_out(own) for own, _ in datasets]
        held_out = [own[index] for (own, _), some in zip(datasets, out, strict=True) for index in sorted(some)]
        apart = _Files(held_out)
        items: list[Item] = []
        for (own, regularisation), some in zip(datasets, out, strict=True):
            learned = apart.without([item for index, item in enumerate(own) if index not in some])
            items += learned
            items += balanced(apart.without(regularisation), sum(item.repeats for item in learned))
        return cls(items, (*notes, *apart.notes()), held_out)


def items_of(folder: ImageFolder, subset: Subset | None = None) -> list[Item]:
    """Every picture of every concept, in the order of names."""
    subset = subset or Subset()
    return [
        Item(picture, concept.words, concept.repeats, subset=subset)
        for concept in folder.concepts
        for picture in concept.pictures
    ]


def balanced(pictures: list[Item], total: int) -> list[Item]:
    """Regularisation pictures with repeats such that an epoch shows `total` of them, as in sd-scripts.

    They are taken in turn with their own repeats, until there are enough; if there are too few, every picture in turn
    is shown once more.  What they score does not matter.
    """
    repeats: list[int] = []
    shown = 0
    for item in pictures:
        if shown >= total:
            break
        repeats.append(item.repeats)
        shown += item.repeats
    if repeats and shown < total:
        each, once_more = divmod(total - shown, len(repeats))
        repeats = [count + each + (index < once_more) for index, count in enumerate(repeats)]
    return [
        replace(item, repeats=count, is_regularisation=True, score=None)
        for item, count in zip(pictures, repeats, strict=False)
    ]


def _scored(items: Sequence[Item]) -> list[Item]:
    """With their scores where anything asks for them, and without those below the threshold.  Raises Failure."""
    kept = []
    for item in items:
        taste = item.subset.taste
        if (asking := taste.used()) and item.score is None:
            try:
                item = replace(item, score=score_of(item.picture))
            except Failure as failure:
                raise Failure(failure.what, failure.mend, asking) from None
        if not taste.score_threshold or item.score is None or item.score >= taste.score_threshold:
            kept.append(item)
    return kept


def _below_threshold(given: Sequence[Item], kept: Sequence[Item]) -> list[str]:
    """A sentence, if a threshold leaves any out.  Raises Failure if it leaves out all."""
    if not (left_out := len(given) - len(kept)):
        return []
    threshold = f"{given[0].subset.taste.score_threshold:g}"
    if not kept:
        raise Failure(
            f"The aesthetic scores of all {len(given)} pictures are below {threshold}, the Score threshold, so none "
            "are left to train on.",
            "Lower Score threshold.",
            "score_threshold",
        )
    are = "is left out: its aesthetic score is" if left_out == 1 else "are left out: their aesthetic scores are"
    return [f"{left_out} of {len(given)} pictures {are} below {threshold}, the Score threshold."]


def readable(items: list[Item], found: dict[Path, Examined]) -> list[Item]:
    """Without the pictures that are left out."""
    return [item for item in items if not found[item.picture].left_out]


def captions_of(items: list[Item]) -> list[str]:
    """Every picture's caption.  Raises Failure with a list of those that cannot be read."""
    captions, unreadable = [], []
    for item in items:
        read = item.subset
        try:
            said = item.caption
            if said is None:
                ending = read.pictures.caption_ending()
                said = caption_of(item.picture, ending, item.words, read.captions.enable_wildcard)
            captions.append(read.taste.told(said, item.score, read.captions.caption_separator))
        except Failure as failure:
            unreadable.append(failure)
    if unreadable:
        first, *more = unreadable
        others = f" And {len(more)} more: {' '.join(failure.what for failure in more[:4])}" if more else ""
        raise Failure(first.what + others, first.mend, first.option)
    return captions


def places_of(items: list[Item]) -> list[Placed]:
    """Every picture's bucket within its dataset.  Raises Failure naming a picture without a size."""
    by_dataset: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        by_dataset.setdefault(item.subset.dataset, []).append(index)
    places: dict[int, Placed] = {}
    for indices in by_dataset.values():
        found = placed([items[index].picture for index in indices], items[indices[0]].subset.pictures)
        places |= zip(indices, found, strict=True)
    return [places[index] for index in range(len(items))]


class _Files:
    """The files of held-out pictures, whatever path they are named by."""

    def __init__(self, held_out: list[Item]) -> None:
        self._folders: dict[Path, str] = {}
        self._files = {self._file(item) for item in held_out}
        self._met: set[str] = set()

    def without(self, items: Sequence[Item]) -> list[Item]:
        if not self._files:
            return list(items)
        files = [self._file(item) for item in items]
        self._met |= self._files.intersection(files)
        return [item for item, file in zip(items, files, strict=True) if file not in self._files]

    def notes(self) -> list[str]:
        """A sentence, if without() found any."""
        if not self._met:
            return []
        many = (
            "1 of the pictures held out is" if len(self._met) == 1 else f"{len(self._met)} of the pictures held out are"
        )
        return [
            f"{many} also listed elsewhere, in another dataset or as regularisation pictures: they are not trained on "
            "there either."
        ]

    def _file(self, item: Item) -> str:
        folder = item.picture.parent
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.normcase(os.path.join(self._folders[folder], item.picture.name))


def _held_out(items: Sequence[Item]) -> set[int]:
    """Indices: the last of each folder's pictures, shuffled by the validation seed, as in sd-scripts.

    A folder keeps at least one picture to learn from, unless the split is 1: then all of it is for validation.
    """
    folders: dict[tuple[object, ...], list[int]] = {}
    for index, item in enumerate(items):
        asked = item.subset.validation
        key = item.subset.dataset, item.picture.parent, asked.validation_split, asked.validation_seed
        folders.setdefault(key, []).append(index)
    out: set[int] = set()
    for indices in folders.values():
        split = items[indices[0]].subset.validation
        random.Random(split.validation_seed).shuffle(indices)
        most = len(indices) if split.validation_split == 1 else len(indices) - 1
        count = min(round(len(indices) * split.validation_split), most)
        out.update(indices[len(indices) - count :])
    return out
