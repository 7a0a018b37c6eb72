"""All checks together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from engine.check.choices import check_choices
from engine.check.memory import check_memory
from engine.check.model import check_model
from engine.check.numbers import check_numbers, check_resume, check_samples
from engine.check.output import check_output
from engine.check.pictures import check_pictures, image_folder
from engine.check.problem import Checked, Problem
from engine.data.items import Item, items_of
from engine.data.placing import placed
from engine.data.steps import StepPlan, plan_of
from engine.failure import Failure
from engine.settings.paths import why_unusable, with_whole_paths
from engine.settings.training import TrainingSettings, training_options

ONLY_AT_THE_BEGINNING = ("resume", "network_weights")
"""What a run that has a state of its own looks at no more."""


@dataclass(frozen=True)
class Resumed:
    """A run that is to go on.  own_files: what it wrote before, which it may write again.

    has_state: it goes on from a state of its own, and needs no longer what it began from.
    """

    own_files: Collection[Path]
    has_state: bool


def check(settings: TrainingSettings, resumed: Resumed | None = None) -> Checked:
    """Look at everything that can be known before a start, or before `resumed` goes on."""
    unusable = [
        Problem(item.name, f"{item.label} {why}.", "Correct the path.")
        for item in training_options()
        if item.acts and item.widget in ("path", "folder") and (why := why_unusable(item.value_in(settings)))
    ]
    if unusable:
        return Checked(unusable, None)
    settings = with_whole_paths(settings)
    folder, folder_problems = image_folder(settings, "train_data_dir")
    regularisation, regularisation_problems = (
        image_folder(settings, "reg_data_dir") if settings.folders.reg_data_dir else (None, [])
    )
    plan = None
    if folder and folder.weight:
        plan = _plan(items_of(folder, regularisation), settings)
    problems = [
        *check_model(settings),
        *check_choices(settings),
        *folder_problems,
        *(check_pictures(folder, settings, "train_data_dir") if folder else []),
        *regularisation_problems,
        *(check_pictures(regularisation, settings, "reg_data_dir") if regularisation else []),
        *check_output(settings, plan, resumed.own_files if resumed else ()),
        *check_numbers(settings),
        *check_memory(settings),
        *check_samples(settings),
        *check_resume(settings, plan),
    ]
    if resumed and resumed.has_state:
        problems = [problem for problem in problems if problem.option not in ONLY_AT_THE_BEGINNING]
    return Checked(problems, plan)


def _plan(items: list[Item], settings: TrainingSettings) -> StepPlan:
    """With the batches as buckets make them, unless a picture or the training size cannot be read."""
    try:
        places = placed([item.picture for item in items], settings.dataset)
    except (Failure, ValueError, ZeroDivisionError):
        places = None
    return plan_of(items, settings, places)
