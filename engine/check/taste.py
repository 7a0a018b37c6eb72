"""Have the pictures the scores that the settings ask for, and do the numbers around them make sense?"""

from __future__ import annotations

from collections.abc import Iterator

from engine.check.problem import Problem, as_problem, counted, listed
from engine.data.items import TrainingSet
from engine.settings.taste import Taste
from engine.settings.training import TrainingSettings

SCORE_THEM = "Score them first, with Aesthetic scores under Utilities"


def check_taste(found: TrainingSet | None, settings: TrainingSettings) -> Iterator[Problem]:
    """found: what the run learns from, None where that is not known."""
    taste = settings.taste
    wrong = list(as_problem("score_words", taste.rows))
    if taste.score_weighting and taste.score_low >= taste.score_high:
        wrong.append(
            Problem(
                "score_low",
                f"Low score is {taste.score_low:g}, not below High score, which is {taste.score_high:g}.",
                "Lower it, or raise High score.",
            )
        )
    yield from wrong
    asking = taste.used()
    if not asking or found is None:
        return
    own = [item for item in (*found.items, *found.held_out) if not item.is_regularisation]
    without = list(dict.fromkeys(item.picture for item in own if item.score is None))
    label = next(item.label for item in settings.options() if item.name == asking)
    if own and all(item.score is None for item in own):
        yield Problem(
            asking,
            f"No picture has an aesthetic score, so {label} would do nothing.",
            f"{SCORE_THEM}, or turn this off.",
        )
    elif without:
        yield Problem(
            asking,
            f"{counted(len(without), 'picture has', 'pictures have')} no aesthetic score: {listed(without)}.",
            f"They are used as they are, with a weight of 1 and no words. {SCORE_THEM}, to treat them like the others.",
            blocking=False,
        )
    scores = [item.score for item in own if item.score is not None]
    if scores and not wrong:
        yield from _without_effect(scores, taste)


def _without_effect(scores: list[float], taste: Taste) -> Iterator[Problem]:
    """Bounds that all scores are on one side of: predictors differ in their ranges."""
    found = f"The aesthetic scores go from {min(scores):g} to {max(scores):g}"
    if taste.score_weighting and len({taste.rising(score) for score in scores}) == 1 < len(set(scores)):
        yield Problem(
            "score_low",
            f"{found}, which is all outside Low score and High score ({taste.score_low:g} to {taste.score_high:g}), so "
            "every picture gets the same weight.",
            "Enter a range within the scores.",
            blocking=False,
        )
    if taste.rows() and not any(taste.words(score) for score in scores):
        yield Problem(
            "score_words",
            f"{found}, so no picture gets any of the words.",
            "Enter lines for lower scores.",
            blocking=False,
        )
