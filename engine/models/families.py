"""Which family of models a run trains, by what the model's files are and what the settings say."""

from __future__ import annotations

import importlib
from pathlib import Path

from engine.failure import Failure
from engine.garbage import kept_for_good
from engine.models import hub
from engine.models.family import Family
from engine.models.makers import MODEL_FIELD
from engine.models.recognise import Found, NoModel, by_shapes, recognise
from engine.models.single_file import Weights
from engine.models.trained import TRAINED
from engine.settings.families import TITLES
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings


def family_of(settings: TrainingSettings) -> Family:
    """Raises Failure where this version does not train the family."""
    found = _recognised(settings.source_model.pretrained_model_name_or_path)
    name = (found and found.family) or settings.family()
    if name not in TRAINED:
        raise Failure(
            f"This is a {TITLES[name]} model, which this version cannot train.", "Choose another.", MODEL_FIELD
        )
    module, _, kind = TRAINED[name].partition(":")
    with kept_for_good():
        family_class = getattr(importlib.import_module(module), kind)
    family: Family = family_class(settings)
    return family


def found_out(source: str) -> Found:
    """What a model says that it is, also where recognise() cannot know: lists are fetched from the hub, and files of
    pickled weights opened.

    Raises Failure, also where nothing of the model says it.
    """
    found, path = _recognised(source), Path(source).expanduser()
    if found is None and path.is_file():
        weights = Weights(path, MODEL_FIELD)
        found = by_shapes({name: weights.shape(name) for name in weights})
    elif found is None and not path.exists() and is_hub_name(source):
        hub.fetch_lists(source, MODEL_FIELD)
        found = _recognised(source)
    if found is None:
        raise Failure(
            f"Nothing in {source} says which model family it belongs to.",
            "Choose a folder with a complete model_index.json, or a .safetensors file.",
            MODEL_FIELD,
        )
    return found


def _recognised(source: str) -> Found | None:
    try:
        return recognise(source)
    except NoModel as error:
        raise Failure(str(error), error.mend, MODEL_FIELD) from error
