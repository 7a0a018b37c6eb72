"""What the program can put right itself."""

from __future__ import annotations

from typing import Any

from engine.check.captions import LOOK_FOR
from engine.check.check import check
from engine.check.choices import USE
from engine.check.model import SET_FAMILY, switches_of
from engine.check.network_weights import TAKE_RANK
from engine.check.output import NEW_NAME
from engine.check.pictures import ADD_NUMBERS, MAKE_FOLDER, USE_PARENT, words_for
from engine.check.problem import CHOOSE, Problem
from engine.data.folders import add_number, move_into_concept, scan
from engine.models.recognise import recognise
from engine.settings.paths import typed_path
from engine.settings.training import TrainingSettings, training_options


def mended(problem: Problem, settings: TrainingSettings) -> TrainingSettings:
    """Do what the problem's fix says; returns the settings to go on with.

    Nothing is done where the settings no longer have this problem: the form may have been changed since it was
    found. Raises OSError where the disk does not let it.
    """
    if problem not in check(settings).problems:
        return settings
    folder = typed_path(str(settings.values()[problem.option]))
    if problem.fix == MAKE_FOLDER:
        move_into_concept(folder, settings.dataset.caption_ending(), words=words_for(settings))
    elif problem.fix == ADD_NUMBERS:
        for unnumbered in scan(folder).unnumbered:
            add_number(unnumbered)
    elif problem.fix == USE_PARENT:
        return settings.with_values({problem.option: str(folder.parent)})
    elif problem.fix.startswith(LOOK_FOR):
        return settings.with_values({problem.option: problem.fix.removeprefix(LOOK_FOR)})
    elif problem.fix == TAKE_RANK:
        return settings.with_values({"dim_from_weights": True})
    elif problem.fix.startswith(NEW_NAME):
        return settings.with_values({"output_name": problem.fix.removeprefix(NEW_NAME).strip('"')})
    elif problem.fix == SET_FAMILY:
        found = recognise(settings.source_model.pretrained_model_name_or_path)
        return settings.with_values(switches_of(found)) if found else settings
    elif problem.fix.startswith(CHOOSE):
        return settings.with_values({problem.option: problem.fix.removeprefix(CHOOSE)})
    elif problem.fix.startswith(USE):
        return settings.model_copy(update={"kohya_extra": _without(problem.option, settings)})
    return settings


def _without(option: str, settings: TrainingSettings) -> dict[str, Any]:
    """What is kept from a file, but for an option's value that was not allowed."""
    key = next(item.kohya.key for item in training_options() if item.name == option)
    return {name: value for name, value in settings.kohya_extra.items() if name != key}


def with_free_name(settings: TrainingSettings) -> TrainingSettings:
    """The settings, under another output name where a file of an earlier run would be overwritten."""
    for problem in check(settings).problems:
        if problem.fix.startswith(NEW_NAME):
            return mended(problem, settings)
    return settings
