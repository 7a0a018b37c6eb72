"""All checks together."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from engine.check.choices import check_choices
from engine.check.model import check_model
from engine.check.numbers import check_numbers, check_resume, check_samples
from engine.check.output import check_output
from engine.check.pictures import check_pictures, image_folder
from engine.check.problem import Checked, Problem
from engine.data.steps import plan_steps
from engine.settings.paths import why_unusable, with_whole_paths
from engine.settings.training import TrainingSettings, training_options


def check(settings: TrainingSettings, own_files: Collection[Path] = ()) -> Checked:
    """Look at everything that can be known before a start.

    own_files: what the run wrote before, where it is to go on; it may write these again.
    """
    unusable = [
        Problem(item.name, f"{item.label} {why}.", "Correct the path.")
        for item in training_options()
        if item.acts and item.widget in ("path", "folder") and (why := why_unusable(item.value_in(settings)))
    ]
    if unusable:
        return Checked(unusable, None)
    settings = with_whole_paths(settings)
    folder, folder_problems = image_folder(settings)
    plan = None
    if folder and folder.weight:
        plan = plan_steps(folder.weight, settings.optimizer, settings.hardware.num_processes)
    problems = [
        *check_model(settings),
        *check_choices(settings),
        *folder_problems,
        *(check_pictures(folder, settings) if folder else []),
        *check_output(settings, plan, own_files),
        *check_numbers(settings),
        *check_samples(settings),
        *check_resume(settings, plan),
    ]
    return Checked(problems, plan)
