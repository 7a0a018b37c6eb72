"""Can the pictures be shown as they are to be: otherwise each time, around faces, masked?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from engine.check.problem import Problem, as_problem, listed
from engine.data.examining import examine
from engine.data.faces import face_of
from engine.data.items import Item
from engine.data.training_set import described_by
from engine.settings.dataset import Dataset
from engine.settings.training import TrainingSettings


def check_shown(items: list[Item], settings: TrainingSettings) -> Iterator[Problem]:
    """Every dataset's and folder's own settings; the run's where there is no picture yet."""
    by = described_by(settings)
    kinds = {id(item.subset.pictures): item.subset.pictures for item in items} or {0: settings.dataset}
    told = set()
    for dataset in kinds.values():
        of_it = [item.picture for item in items if item.subset.pictures is dataset]
        for problem in (*_varied(dataset), *_faces(dataset, list(dict.fromkeys(of_it)))):
            if problem not in told:
                told.add(problem)
                yield replace(problem, option=by) if by == "dataset_config" else problem
    dataset = settings.dataset
    if settings.objective.train_inpainting and dataset.keeps_latents():
        yield _not_once("train_inpainting", "Train inpainting model")
    if dataset.masked_loss and dataset.mask_dir and not Path(dataset.mask_dir).is_dir():
        yield Problem("mask_dir", f'There is no folder "{dataset.mask_dir}".', "Correct the path, or clear the field.")


def _varied(dataset: Dataset) -> Iterator[Problem]:
    labels = {"random_crop": "Random crop", "color_aug": "Color augmentation", "face_crop_aug_range": "Face crop range"}
    for name, label in labels.items():
        acts = getattr(dataset, name) and not (name == "face_crop_aug_range" and dataset.enable_bucket)
        if acts and dataset.keeps_latents():
            yield _not_once(name, label)


def _not_once(name: str, label: str) -> Problem:
    return Problem(
        name,
        f"{label}: pictures that change each time they are seen cannot be encoded once before training.",
        "Turn off Cache latents and Cache latents to disk, or turn this off.",
    )


def _faces(dataset: Dataset, pictures: list[Path]) -> Iterator[Problem]:
    """Crops around faces, as far as they are asked for and can be made."""
    wrong = list(as_problem("face_crop_aug_range", dataset.face_range))
    yield from wrong
    bounds = None if wrong else dataset.face_range()
    if bounds is None:
        return
    if dataset.enable_bucket:
        yield Problem(
            "face_crop_aug_range",
            "Pictures can be cropped around faces only when they are all trained at the same size.",
            "Turn off Enable buckets, or clear Face crop range.",
            blocking=False,
        )
        return
    whole = [(picture, found.size) for picture in pictures if not (found := examine(picture, decode=False)).left_out]
    faceless = [picture for picture, size in whole if face_of(picture, size, bounds) is None]
    if faceless:
        yield Problem(
            "face_crop_aug_range",
            f"The file names of {len(faceless)} of {len(whole)} pictures do not say where the face is: "
            f"{listed(faceless)}.",
            "They are cropped normally. A name such as cat_120_80_64_72.png gives the center and the size.",
            blocking=False,
        )
