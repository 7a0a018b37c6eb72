"""Second stage: the model, in the number formats that the run keeps it in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engine.failure import Stopped
from engine.models.families import family_of
from engine.models.family import Family
from engine.models.hub import downloads_told
from engine.models.parts import Parts
from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.hardware import Precision
from engine.training.report import Report
from engine.training.stages.begin import Begun


@dataclass(frozen=True)
class Loaded:
    """On the CPU."""

    family: Family
    parts: Parts


def load(begun: Begun) -> Loaded:
    """Download what is not here yet, and load.  Raises Failure, Stopped."""
    begun.report.stage("loading", detail=begun.settings.source_model.pretrained_model_name_or_path)
    with downloads_told(partial(_downloading, begun.report, begun.run)):
        return load_model(begun.settings, begun.precision)


def load_model(settings: TrainingSettings, precision: Precision) -> Loaded:
    """Trained weights start at the full precision of the files; the rest may be converted at once.  Raises Failure."""
    family, whole = family_of(settings), settings.trains_whole_model
    parts = family.load(settings, precision.learned if whole else precision.frozen)
    if whole and not settings.sdxl.sdxl_no_half_vae:
        parts.vae.to(precision.frozen)
    return Loaded(family, parts)


def _downloading(report: Report, run: RunFolder, done: int, total: int) -> None:
    """A model that is already here still has to be loaded, which is not a download."""
    report.stage("loading", *((0, 0) if done == total else (done, total)))
    if run.stop_requested():
        raise Stopped
