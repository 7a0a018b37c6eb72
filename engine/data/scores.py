"""Aesthetic scores of pictures: where they are kept, and how much pictures count by them.  Needs no torch.

A picture's score is a number in a text file beside it, NAME.score, or in its entry in a metadata list, under KEY.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.disk import why_not
from engine.failure import Failure
from engine.reading import small_bytes
from engine.settings.taste import Taste

ENDING = ".score"
"""Of the file, in the place of the picture's own: it goes along with the picture as a caption does."""

KEY = "aesthetic_score"

LONGEST = 200
"""Bytes of such a file."""


def score_file(picture: Path) -> Path:
    return picture.with_name(picture.stem + ENDING)


def score_of(picture: Path) -> float | None:
    """The score in the file beside a picture; None where there is none.  Raises Failure, a sentence."""
    file = score_file(picture)
    try:
        text = small_bytes(file, LONGEST).decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = why_not(error) if isinstance(error, OSError) else "it is not text"
        raise Failure(
            f"The aesthetic score {file} cannot be read: {why}.", "Delete the file, or score again."
        ) from None
    try:
        return as_score(text)
    except ValueError:
        what = f'The aesthetic score {file} says "{text.strip()[:40]}", which is not a number.'
        raise Failure(what, "Correct or delete the file, or score again.") from None


def as_score(value: Any) -> float:
    """Raises ValueError where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    try:
        number = float(value)
    except OverflowError:
        raise ValueError from None
    if not math.isfinite(number):
        raise ValueError
    return number


def score_weights(scores: Sequence[float | None], shown: Sequence[int], taste: Taste) -> list[float]:
    """How much each picture's loss counts: r(s) / mean of r, where r is Taste.rising(); 1 for one without a score.

    shown: how often an epoch shows each picture. The mean is over those with a score, each as often as it is shown, so
    the mean of the weights over an epoch is 1.
    """
    if not taste.score_weighting:
        return [1.0] * len(scores)
    rising = [None if score is None else taste.rising(score) for score in scores]
    counted = [(weight, often) for weight, often in zip(rising, shown, strict=True) if weight is not None]
    total = sum(often for _, often in counted)
    mean = sum(weight * often for weight, often in counted) / total if total else 1.0
    return [1.0 if weight is None else weight / mean for weight in rising]
