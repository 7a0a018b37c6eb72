"""The methods there are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from engine.models.family import Family
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.dreamartist_method import DreamArtistMethod
from engine.training.hypernetwork_method import HypernetworkMethod
from engine.training.leco_method import LecoMethod
from engine.training.lora_method import LoraMethod
from engine.training.method import Method
from engine.training.pivotal_method import PivotalMethod
from engine.training.textual_inversion_method import TextualInversionMethod
from engine.training.whole_model_method import WholeModelMethod


def method_of(
    family: Family,
    parts: Parts,
    settings: TrainingSettings,
    *,
    total_steps: int,
    dtype: torch.dtype,
    goes_on: Mapping[str, Tensor] | None = None,
) -> Method:
    """The method given by the settings, with its network attached or the model's weights made trainable.

    total_steps: of the run; Stop TE is a share of it.  dtype: of the trained weights.  goes_on: the weights of the
    state that the run resumes from.
    """
    if settings.method == "lora":
        method = PivotalMethod if settings.teaches_words else LoraMethod
        return method(family, parts, settings, total_steps=total_steps, dtype=dtype, goes_on=goes_on)
    if settings.method == "leco":
        return LecoMethod(family, parts, settings, total_steps=total_steps, dtype=dtype, goes_on=goes_on)
    if settings.method == "textual_inversion":
        teaches = DreamArtistMethod if settings.applied("dreamartist") else TextualInversionMethod
        return teaches(family, parts, settings, goes_on=goes_on)
    if settings.method == "hypernetwork":
        return HypernetworkMethod(family, parts, settings, dtype=dtype, goes_on=goes_on)
    return WholeModelMethod(family, parts, settings, total_steps=total_steps, dtype=dtype)
