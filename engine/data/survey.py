"""A training set for display: every picture with its caption, bucket and crop, and the totals.

Needs no torch.  Headers are read, nothing is decoded: see looks.py for what takes longer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from engine.data.buckets import Placed, Size
from engine.data.captions import caption_file, caption_text
from engine.data.examining import Examined, examined, told
from engine.data.folders import Concept, ImageFolder, pictures_in, scan
from engine.data.items import Item, Subset, TrainingSet, items_of, places_of, readable
from engine.data.scores import score_of
from engine.data.steps import StepPlan, plan_of
from engine.data.training_set import training_set
from engine.failure import Failure
from engine.settings.training import TrainingSettings

FLAT = (
    "The pictures are directly in this folder, but training expects sub-folders named REPEATS_WORDS. Prepare creates "
    "them."
)


@dataclass(frozen=True)
class Seen:
    """One picture.  place: its bucket and crop, None if it is left out.

    text: the whole text of its caption file, or its caption in a list; None if it has neither.
    file: where its caption is saved, None if it comes from a list.  problem: why the caption cannot be read.
    held_out: it is not learned from; the loss is measured on it.  score: its aesthetic score, None if it has none.
    """

    item: Item
    found: Examined
    place: Placed | None
    text: str | None
    file: Path | None
    problem: str = ""
    held_out: bool = False
    score: float | None = None

    @property
    def picture(self) -> Path:
        return self.item.picture

    @property
    def is_enlarged(self) -> bool:
        return self.place is not None and self.place.resized[0] > self.place.original[0]

    @property
    def cropped_away(self) -> float:
        """Share of the picture that the crop removes, in [0, 1)."""
        return max(0.0, self.place.cropped_away()) if self.place else 0.0

    @property
    def is_small(self) -> bool:
        """Whether it has fewer pixels than the training size."""
        width, height = self.item.subset.pictures.size()
        return self.place is not None and self.found.size[0] * self.found.size[1] < width * height


@dataclass(frozen=True)
class ConceptCount:
    """Pictures of one folder that are treated alike.  shown: pictures × repeats of an epoch.

    repeats: one number, or several if regularisation pictures are balanced.  held_out: of the pictures.
    """

    folder: Path
    words: str
    is_regularisation: bool
    pictures: int
    repeats: tuple[int, ...]
    captioned: int
    left_out: int
    shown: int
    held_out: int = 0


@dataclass(frozen=True)
class Survey:
    """seen: every picture, including those left out.  notes: sentences on what is left out or corrected, and why.

    plan: None if nothing can be trained on.
    """

    seen: tuple[Seen, ...]
    concepts: tuple[ConceptCount, ...]
    notes: tuple[str, ...]
    plan: StepPlan | None

    def scores(self) -> list[float]:
        """Of the pictures that have one."""
        return [one.score for one in self.seen if one.score is not None]

    def buckets(self) -> list[tuple[Size, int, int]]:
        """(size, pictures, pictures × repeats), by width."""
        counts = Counter[Size]()
        shown = Counter[Size]()
        for one in self.seen:
            if one.place and not one.held_out:
                counts[one.place.bucket] += 1
                shown[one.place.bucket] += one.item.repeats
        return [(size, counts[size], shown[size]) for size in sorted(counts)]


def survey(settings: TrainingSettings, folder: str = "") -> Survey:
    """Survey what the settings describe, or a folder as these settings would read it.

    Raises Failure with a sentence, and OSError if a folder cannot be read.
    """
    try:
        settings.dataset.size()
    except ValueError as error:
        raise Failure(str(error), "", "max_resolution") from None
    described = training_set(settings, own_captions=True) if not folder else _of_folder(Path(folder), settings)
    items = [*described.items, *described.held_out]
    if not items:
        raise Failure(f'There are no pictures in "{folder or settings.folders.train_data_dir}".', "Choose another.")
    found = examined([item.picture for item in items], decode=False)
    usable = readable(items, found)
    places = places_of(usable)
    # A picture may be listed twice, such as regularisation pictures that are also used as training pictures.
    placed = {id(item): place for item, place in zip(usable, places, strict=True)}
    out = {id(item) for item in described.held_out}
    seen = tuple(
        replace(_rated(_seen(item, found[item.picture], placed.get(id(item)))), held_out=id(item) in out)
        for item in items
    )
    learned = [(item, place) for item, place in zip(usable, places, strict=True) if id(item) not in out]
    plan = plan_of([item for item, _ in learned], settings, [place for _, place in learned]) if learned else None
    notes = (*described.notes, *told(found), *([held_out_words(len(out), len(items))] if out else []))
    return Survey(seen, _concepts(seen), notes, plan)


def held_out_words(count: int, of: int) -> str:
    return (
        f"{count} of {of} pictures are held out: they are not trained on, and the validation loss is measured on them."
    )


def _of_folder(folder: Path, settings: TrainingSettings) -> TrainingSet:
    """The contents of a given folder; one without sub-folders is shown as one concept."""
    if not folder.is_dir():
        what = f'"{folder}" is a file, not a folder.' if folder.exists() else f'There is no folder "{folder}".'
        raise Failure(what, "Correct the path.", "train_data_dir")
    subset = Subset.of(settings)
    inside = scan(folder, settings.loose_repeats())
    notes = [f'The pictures in "{child.name}" are left out: 0 repeats.' for child in inside.switched_off]
    if inside.concepts:
        lacking = [
            f'The pictures in "{child.name}" are left out: no repeats in its name.' for child in inside.unnumbered
        ]
        loose = [f"{len(inside.loose)} pictures next to the sub-folders are left out."] if inside.loose else []
        return TrainingSet.of(items_of(inside, subset), (), (*notes, *lacking, *loose))
    flat = [Concept(folder, 1, "", inside.loose)] if inside.loose else []
    flat += [Concept(child, 1, "", pictures_in(child)) for child in inside.unnumbered]
    return TrainingSet.of(items_of(ImageFolder(tuple(flat), (), (), ()), subset), (), (FLAT, *notes))


def _seen(item: Item, found: Examined, place: Placed | None) -> Seen:
    if item.caption is not None:
        return Seen(item, found, place, item.caption, None)
    ending = item.subset.pictures.caption_ending()
    own = item.picture.with_name(item.picture.stem + ending)
    file = caption_file(item.picture, ending)
    if file is None:
        return Seen(item, found, place, None, own)
    try:
        return Seen(item, found, place, caption_text(file).strip(), own)
    except UnicodeDecodeError:
        return Seen(item, found, place, None, own, "its caption is not UTF-8 text; save it as UTF-8")
    except OSError as error:
        return Seen(item, found, place, None, own, f"its caption cannot be read: {error.strerror}")


def _rated(one: Seen) -> Seen:
    """With its score, or with the problem that it cannot be read, unless there is another."""
    if one.item.score is not None:
        return replace(one, score=one.item.score)
    try:
        return replace(one, score=score_of(one.picture))
    except Failure as failure:
        return replace(one, problem=one.problem or failure.what)


def _concepts(seen: tuple[Seen, ...]) -> tuple[ConceptCount, ...]:
    groups: dict[tuple[Path, str, bool, int], list[Seen]] = {}
    for one in seen:
        key = (one.picture.parent, one.item.words, one.item.is_regularisation, one.item.subset.dataset)
        groups.setdefault(key, []).append(one)
    counted = []
    for (folder, words, is_regularisation, _), pictures in groups.items():
        used = [one for one in pictures if one.place]
        learned = [one for one in used if not one.held_out]
        counted.append(
            ConceptCount(
                folder,
                words,
                is_regularisation,
                len(pictures),
                tuple(sorted({one.item.repeats for one in pictures})),
                sum(bool(one.text) for one in pictures),
                len(pictures) - len(used),
                sum(one.item.repeats for one in learned),
                len(used) - len(learned),
            )
        )
    return tuple(counted)
