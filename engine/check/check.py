"""All checks together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from engine.check.arguments import check_arguments
from engine.check.averaging import check_averaging
from engine.check.captions import check_captions
from engine.check.choices import check_choices
from engine.check.hypernetwork import check_hypernetwork
from engine.check.leco import check_leco
from engine.check.memory import check_memory
from engine.check.model import check_model
from engine.check.network import check_network
from engine.check.network_weights import check_network_weights
from engine.check.new_words import check_new_words
from engine.check.numbers import check_numbers, check_resume, check_sizes
from engine.check.objective import check_objective
from engine.check.output import check_output
from engine.check.paths import check_paths, is_elsewhere
from engine.check.pictures import check_described, check_held_out, check_opposite, check_pictures, image_folder
from engine.check.problem import Checked, Problem
from engine.check.samples import check_samples
from engine.check.shown import check_shown
from engine.check.sources import check_sources
from engine.check.taste import check_taste
from engine.data.examining import examined
from engine.data.items import Item, TrainingSet, places_of, readable
from engine.data.steps import StepPlan, plan_of, plan_of_prompts
from engine.data.training_set import described_by, training_set
from engine.failure import Failure
from engine.settings.kin import KIN
from engine.settings.leco_prompts import prompt_sets
from engine.settings.paths import with_whole_paths
from engine.settings.training import TrainingSettings

ONLY_AT_THE_BEGINNING = ("resume", "embedding_weights", "hypernetwork_weights")
"""What a run that has a state of its own looks at no more, beside Network weights."""


@dataclass(frozen=True)
class Resumed:
    """A run that is to go on.  own_files: what it wrote before, which it may write again.

    has_state: it goes on from a state of its own, and needs no longer what it began from.
    """

    own_files: Collection[Path]
    has_state: bool


def check(settings: TrainingSettings, resumed: Resumed | None = None) -> Checked:
    """Look at everything that can be known before a start, or before `resumed` goes on."""
    unusable = list(check_paths(settings))
    if not all(is_elsewhere(settings, problem) for problem in unusable):  # the disk cannot even be asked about them
        return Checked(unusable, None)
    settings = with_whole_paths(settings)
    found, described = _training_set(settings) if settings.learns_from_pictures else (None, [])
    plan = _plan_of(found, settings)
    problems = [
        *check_model(settings),
        *check_sources(settings),
        *check_choices(settings),
        *described,
        *(check_captions([*found.items, *found.held_out], settings) if found else []),
        *(check_held_out(found) if found else []),
        *check_taste(found, settings),
        *check_output(settings, plan, resumed.own_files if resumed else ()),
        *check_arguments(settings),
        *check_numbers(settings),
        *check_objective(settings),
        *check_averaging(settings, plan),
        *check_network(settings),
        *check_hypernetwork(settings),
        *check_leco(settings),
        *check_new_words(found.items if found else [], settings),
        *([] if resumed and resumed.has_state else check_network_weights(settings)),
        *check_memory(settings),
        *check_sizes(found.items if found else [], settings),
        *check_shown(found.items if found else [], settings),
        *check_samples(settings),
        *check_resume(settings, plan),
    ]
    said = {problem.option for problem in unusable}
    problems = [*unusable, *(problem for problem in problems if problem.option not in said)]
    if settings.method in KIN:  # what other tabs left behind is of no account
        known = {item.name: item for item in settings.options()}
        problems = [one for one in problems if one.option not in known or known[one.option].is_for(settings.method)]
    problems = list(dict.fromkeys(problems))
    if resumed and resumed.has_state:
        problems = [problem for problem in problems if problem.option not in ONLY_AT_THE_BEGINNING]
    return Checked(problems, plan)


def _training_set(settings: TrainingSettings) -> tuple[TrainingSet | None, list[Problem]]:
    """What the run learns from, None where that cannot be found out, and what is wrong with how it is described."""
    by = described_by(settings)
    folders = ["train_data_dir", "reg_data_dir", "opposite_data_dir"] if by == "train_data_dir" else []
    problems = []
    for option in folders:
        if option == by or settings.applied(option):
            folder, wrong = image_folder(settings, option)
            problems += [*wrong, *(check_pictures(folder, settings, option) if folder else [])]
    try:
        found = training_set(settings)
    except Failure as failure:
        if not any(problem.blocking for problem in problems):
            problems.append(Problem(failure.option, failure.what, failure.mend))
        return None, problems
    except OSError as error:
        return None, problems or [
            Problem(by, f"The folder cannot be searched for pictures: {error}.", "Allow this program to read it.")
        ]
    problems += check_opposite(settings, by)
    if not folders:
        return found, [*problems, *check_described(found, settings, by)]
    return found, [*problems, *(Problem(by, note, blocking=False) for note in found.notes)]


def _plan_of(found: TrainingSet | None, settings: TrainingSettings) -> StepPlan | None:
    if settings.learns_from_pictures:
        return _plan(found.items, settings) if found and found.items else None
    try:
        return plan_of_prompts(settings, len(prompt_sets(settings)))
    except ValueError:  # said by check_leco()
        return None


def _plan(items: list[Item], settings: TrainingSettings) -> StepPlan | None:
    """Of the pictures that can be read, with the batches as buckets make them; None where no picture can."""
    pictures = [item.picture for item in items]
    items = readable(items, examined(pictures, unless_whole=settings.dataset.keeps_latents()))
    try:
        places = places_of(items)
    except (Failure, ValueError, ZeroDivisionError):  # of the training size, which has a sentence of its own
        places = None
    return plan_of(items, settings, places) if items else None
