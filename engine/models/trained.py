"""The families that this version trains, and where their classes are; no torch: the checks use it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.settings.families import FamilyName

TRAINED: Mapping[FamilyName, str] = {
    "sd1": "engine.models.sd:StableDiffusion",
    "sd2": "engine.models.sd:StableDiffusion2",
    "sdxl": "engine.models.sdxl:StableDiffusionXL",
    "sdxl-refiner": "engine.models.refiner:StableDiffusionXLRefiner",
    "sd3": "engine.models.sd3:StableDiffusion3",
    "flux": "engine.models.flux:Flux",
    "chroma": "engine.models.chroma:Chroma",
    "lumina": "engine.models.lumina:LuminaImage2",
}
"""As "module:class"; the class follows family.py's protocol and is imported only when it is used."""


def name_of(family_class: type) -> FamilyName:
    """Of one of these classes."""
    place = f"{family_class.__module__}:{family_class.__qualname__}"
    return next(name for name, listed in TRAINED.items() if listed == place)
