"""Which family of models a run trains, by what the model's files are and what the settings say."""

from __future__ import annotations

import importlib

from engine.failure import Failure
from engine.models.checkpoint import MODEL_FIELD
from engine.models.family import Family
from engine.models.recognise import NoModel, recognise
from engine.models.trained import TRAINED
from engine.settings.families import TITLES
from engine.settings.training import TrainingSettings


def family_of(settings: TrainingSettings) -> Family:
    """Raises Failure where this version does not train the family."""
    try:
        found = recognise(settings.source_model.pretrained_model_name_or_path)
    except NoModel as error:
        raise Failure(str(error), "Download it again, or choose another file.", MODEL_FIELD) from error
    name = (found and found.family) or settings.family()
    if name not in TRAINED:
        raise Failure(
            f"This is a {TITLES[name]} model, which this version does not train.", "Choose another.", MODEL_FIELD
        )
    module, _, kind = TRAINED[name].partition(":")
    family: Family = getattr(importlib.import_module(module), kind)(settings)
    return family
