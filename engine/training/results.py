"""Which weights a run shows and saves: the trained ones, their average, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from engine.data.output_names import AVERAGED
from engine.settings.averaging import Averaging
from engine.training.moving_average import MovingAverage

InPlace = Callable[[], AbstractContextManager[None]]
"""Within its block the weights are certain ones; afterwards they are the trained ones again, exactly."""


@dataclass(frozen=True)
class Results:
    """shown: the weights for samples and the validation loss.  saved: those for files, by what follows a file's stem.

    after_step: called once the weights of a step are final.
    """

    shown: InPlace
    saved: Mapping[str, InPlace]
    after_step: Callable[[], None] = lambda: None


def results_of(trained: InPlace, average: MovingAverage | None, settings: Averaging) -> Results:
    """trained: for the trained weights, as they are to be used."""
    if average is None:
        return Results(trained, {"": trained})
    averaged = average.in_place
    # The usual name comes last: the file with it is the last that a run reports.
    saved = {AVERAGED: averaged, "": trained} if settings.saves_both() else {"": averaged}
    return Results(averaged if settings.ema_samples else trained, saved, average.after_step)
