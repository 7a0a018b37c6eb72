"""Can the results be written, and does nothing get lost by it?"""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

from engine.check.problem import CHOOSE, Problem, listed, short
from engine.check.space import check_space
from engine.data.output_names import SAMPLES, OutputFiles, holds_other_things, is_folder, why_no_name
from engine.data.steps import StepPlan
from engine.runs.folder import runs_root
from engine.settings.training import TrainingSettings

LONGEST_NAME = 150
"""Bytes of an output name: with what is added to it for states and samples, file systems take 255 bytes."""

NEW_NAME = "Use the name "

IMG, MODEL = "img", "model"
"""Of the folders that kohya_ss makes for one training: the pictures', and the results' beside it."""

OUTPUTS = "outputs"
"""As kohya_ss's own folder for results is called."""


def check_output(settings: TrainingSettings, plan: StepPlan | None, own_files: Collection[Path]) -> Iterator[Problem]:
    """own_files: what the run itself wrote before, which it may write again."""
    folders = settings.folders
    name = folders.output_name
    if why := why_no_name(name):
        yield Problem("output_name", f'"{name}" {why}.', "Choose another name.")
        return
    if len(name.encode()) > LONGEST_NAME:
        yield Problem("output_name", f'"{name[:40]}…" is too long for a file name.', "Use at most 100 characters.")
        return
    if is_folder(settings) and name.casefold() == SAMPLES:
        yield Problem(
            "output_name",
            f'The folder "{name}" is used for sample pictures, so no model can be saved under that name.',
            "Choose another name.",
        )
        return
    if folders.output_dir:
        writable = yield from _writable("output_dir", folders.output_dir)
    else:
        writable = None
        offer = usual_output_folder(settings)
        yield Problem(
            "output_dir", "No output folder is chosen.", "Enter or choose one.", fix=f"{CHOOSE}{offer}" if offer else ""
        )
    if folders.logging_dir:
        yield from _writable("logging_dir", folders.logging_dir)
    if writable and plan is not None:
        yield from _overwritten(settings, plan, own_files)
        yield from check_space(settings, plan, writable, own_files)


def usual_output_folder(settings: TrainingSettings) -> Path | None:
    """Where results would go that nobody has chosen a place for: in kohya_ss's layout beside the pictures, else in a
    folder of the run's name beside the runs; None where nothing can be written to either.
    """
    pictures = Path(settings.folders.train_data_dir)
    beside = [pictures.with_name(MODEL)] if pictures.is_absolute() and pictures.name == IMG else []
    wanted = [*beside, runs_root().with_name(OUTPUTS) / settings.folders.output_name]
    return next((folder for folder in wanted if next(_writable("", str(folder)), None) is None), None)


def _writable(option: str, text: str) -> Generator[Problem, None, Path | None]:
    """Returns the folder, or the nearest one above it that is there already; None where nothing can be written."""
    folder = Path(text)
    if folder.exists() and not folder.is_dir():
        yield Problem(option, f'"{folder}" is a file, not a folder.', "Correct the path.")
        return None
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Problem(option, f'Cannot write to "{existing}".', "Choose another folder.")
        return None
    return existing


def _overwritten(settings: TrainingSettings, plan: StepPlan, own_files: Collection[Path]) -> Iterator[Problem]:
    there = [file for file in OutputFiles(settings, plan).existing() if file not in own_files]
    source = Path(settings.source_model.pretrained_model_name_or_path)
    others = [file for file in there if holds_other_things(file)]
    if others:
        yield Problem(
            "output_name",
            f"The run would replace the folder {listed(others)}, which contains something else.",
            "Choose another name.",
            fix=f'{NEW_NAME}"{_free_name(settings, plan)}"',
        )
    elif source in there:
        yield Problem(
            "output_name",
            f'The result would replace "{short(source)}", the model it is trained from.',
            "Choose another name.",
            fix=f'{NEW_NAME}"{_free_name(settings, plan)}"',
        )
    elif there and not settings.folders.overwrite:
        yield Problem(
            "output_name",
            f"The run would overwrite {listed(there)}.",
            'Choose another name, or turn on "Overwrite files of the same name".',
            fix=f'{NEW_NAME}"{_free_name(settings, plan)}"',
        )


def _free_name(settings: TrainingSettings, plan: StepPlan) -> str:
    stem = settings.folders.output_name
    base, _, number = stem.rpartition("-")
    base, first = (base, int(number) + 1) if base and number.isdecimal() else (stem, 2)
    for number_ in range(first, first + 10_000):
        candidate = settings.with_values({"output_name": f"{base}-{number_}"})
        if not OutputFiles(candidate, plan).existing():
            return candidate.folders.output_name
    return f"{stem}-new"
