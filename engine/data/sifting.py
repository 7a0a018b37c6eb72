"""Filtering the pictures of a survey: by problems, and by what captions say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.data.duplicates import duplicate_groups
from engine.data.looks import Look
from engine.data.survey import Seen, Survey

EXTREME = 2.0
"""Ratio of a picture's sides above which its shape counts as extreme."""

MUCH = 0.1
"""Share of a picture lost to the crop that is worth a look."""

BLURRED = 100.0
"""The usual threshold of the variance of the Laplacian; what is right depends on the pictures."""

Captions = Mapping[Path, str]
"""Captions that differ from their files."""

_QUICK: dict[str, Callable[[Seen], bool]] = {
    "Too small": lambda one: one.is_small,
    "Enlarged": lambda one: one.is_enlarged,
    "Extreme aspect": lambda one: max(one.found.size) > EXTREME * min(one.found.size) > 0,
    "Heavily cropped": lambda one: one.cropped_away > MUCH,
}

ALL, NO_CAPTION, CHANGED, UNREADABLE = "All pictures", "No caption", "Changed caption", "Unreadable"
DUPLICATE, BLURRY = "Duplicate", "Blurred"

KINDS = (ALL, NO_CAPTION, *_QUICK, DUPLICATE, BLURRY, UNREADABLE, CHANGED)

FOLDERS, BEST_FIRST, WORST_FIRST = "By folder", "Highest score first", "Lowest score first"

ORDERS = (FOLDERS, BEST_FIRST, WORST_FIRST)

NEED_LOOKS = (DUPLICATE, BLURRY, UNREADABLE)
"""Filters that need every picture decoded once."""


@dataclass(frozen=True)
class Sieve:
    """What to look for.  says: text in the caption, ignoring case.  whole_tag: only as a whole tag.

    folder: only pictures of this folder.  sharpness: below it a picture counts as blurred.  order: one of ORDERS.
    """

    kind: str = ALL
    says: str = ""
    whole_tag: bool = False
    folder: Path | None = None
    sharpness: float = BLURRED
    order: str = FOLDERS


def text_of(one: Seen, changed: Captions) -> str:
    """The caption, possibly changed; empty if there is none."""
    return changed.get(one.file, one.text or "") if one.file else one.text or ""


def tags_of(text: str, separator: str = ",") -> list[str]:
    """The parts of a caption, stripped, without empty ones."""
    return [tag for line in text.split("\n") for part in line.split(separator or ",") if (tag := part.strip())]


def sifted(survey: Survey, sieve: Sieve, changed: Captions, looks: Mapping[Path, Look]) -> list[int]:
    """Indices of the pictures found, in the sieve's order; by folder, duplicates are next to each other.

    Among scores, pictures without one come last.

    looks: of the pictures looked at so far; others pass none of NEED_LOOKS.
    """
    wanted = sieve.says.strip().casefold()

    def says(one: Seen) -> bool:
        text = text_of(one, changed).casefold()
        separator = one.item.subset.captions.caption_separator
        return wanted in (tags_of(text, separator) if sieve.whole_tag else text)

    of_kind = dict.fromkeys(_of_kind(survey, sieve, changed, looks))
    found = [
        index
        for index in of_kind
        if (not wanted or says(survey.seen[index]))
        and (sieve.folder is None or survey.seen[index].picture.parent == sieve.folder)
    ]
    return found if sieve.order == FOLDERS else _by_score(found, survey.seen, best_first=sieve.order == BEST_FIRST)


def _by_score(indices: Iterable[int], seen: Sequence[Seen], best_first: bool) -> list[int]:
    def place(index: int) -> tuple[bool, float]:
        score = seen[index].score
        return score is None, 0.0 if score is None else -score if best_first else score

    return sorted(indices, key=place)


def counts(survey: Survey, changed: Captions, looks: Mapping[Path, Look], sharpness: float) -> dict[str, int]:
    """Number of pictures for each filter; for those that need looks, only if every picture has been looked at."""
    is_looked_at = all(one.picture in looks for one in survey.seen)
    return {
        kind: len(_of_kind(survey, Sieve(kind, sharpness=sharpness), changed, looks))
        for kind in KINDS
        if is_looked_at or kind not in NEED_LOOKS
    }


def tag_counts(survey: Survey, indices: Iterable[int], changed: Captions) -> list[tuple[str, int]]:
    """(tag, captions that have it), the most frequent first."""
    counted = Counter[str]()
    for index in indices:
        one = survey.seen[index]
        counted.update(dict.fromkeys(tags_of(text_of(one, changed), one.item.subset.captions.caption_separator), 1))
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _of_kind(survey: Survey, sieve: Sieve, changed: Captions, looks: Mapping[Path, Look]) -> list[int]:
    seen = survey.seen
    if sieve.kind == DUPLICATE:
        # A picture listed twice, also as a regularisation picture, is not a copy of itself.
        first = {one.picture: index for index, one in reversed(list(enumerate(seen)))}
        pictures = sorted(first, key=lambda picture: first[picture])
        groups = _groups(tuple(looks.get(picture, Look()) for picture in pictures))
        pairs = sorted((group, first[picture]) for group, picture in zip(groups, pictures, strict=True) if group)
        return [index for _, index in pairs]
    passes: Callable[[Seen], bool]
    if sieve.kind == NO_CAPTION:
        passes = lambda one: not text_of(one, changed).strip()  # noqa: E731
    elif sieve.kind == CHANGED:
        passes = lambda one: one.file in changed  # noqa: E731
    elif sieve.kind == UNREADABLE:
        passes = lambda one: bool(one.found.left_out or looks.get(one.picture, Look()).unreadable)  # noqa: E731
    elif sieve.kind == BLURRY:
        passes = lambda one: _is_blurred(looks.get(one.picture), sieve.sharpness)  # noqa: E731
    else:
        passes = _QUICK.get(sieve.kind, lambda one: True)
    return [index for index, one in enumerate(seen) if passes(one)]


@lru_cache(maxsize=4)
def _groups(looks: tuple[Look, ...]) -> list[int]:
    """Cached, because every page that is drawn asks about the same pictures."""
    return duplicate_groups(looks)


def _is_blurred(look: Look | None, below: float) -> bool:
    return look is not None and look.thumbnail is not None and look.sharpness < below
