"""Which family of models a run trains, by what the model's files are and what the settings say."""

from __future__ import annotations

from engine.failure import Failure
from engine.models.checkpoint import MODEL_FIELD
from engine.models.family import Family
from engine.models.recognise import NoModel, recognise
from engine.settings.families import TITLES
from engine.settings.training import TrainingSettings


def family_of(settings: TrainingSettings) -> Family:
    """Raises Failure where this version does not train the family."""
    try:
        found = recognise(settings.source_model.pretrained_model_name_or_path)
    except NoModel as error:
        raise Failure(str(error), "Download it again, or choose another file.", MODEL_FIELD) from error
    name = (found and found.family) or settings.families.said()
    if name == "sdxl":
        from engine.models.sdxl import StableDiffusionXL

        return StableDiffusionXL()
    if name in ("sd1", "sd2"):
        from engine.models.sd import StableDiffusion

        return StableDiffusion(1 if name == "sd1" else 2)
    if name == "flux":
        from engine.models.flux import Flux

        return Flux(settings.flux)
    if name == "sd3":
        from engine.models.sd3 import StableDiffusion3

        return StableDiffusion3(settings)
    raise Failure(f"This is a {TITLES[name]} model, which this version does not train.", "Choose another.", MODEL_FIELD)
