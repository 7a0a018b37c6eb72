"""The methods there are."""

from __future__ import annotations

from engine.models.family import Family, Parts
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from engine.training.method import Method
from engine.training.whole_model_method import WholeModelMethod


def method_of(family: Family, parts: Parts, settings: TrainingSettings, total_steps: int) -> Method:
    """The one that the settings say, attached to the model or with the model's weights set free."""
    if settings.method == "lora":
        return LoraMethod(family, parts, settings, total_steps)
    return WholeModelMethod(family, parts, settings, total_steps)
