"""Fourth stage: what is trained: attached to the model, or unfrozen in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from engine.models.conditioning import Reading
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.hardware import Precision, save_memory
from engine.training.method import Method
from engine.training.methods import method_of
from engine.training.stages.load import Loaded


@dataclass(frozen=True)
class Attached:
    method: Method
    encoder: CaptionEncoder


def attach(
    settings: TrainingSettings,
    loaded: Loaded,
    precision: Precision,
    *,
    total_steps: int,
    goes_on: Mapping[str, Tensor] | None = None,
) -> Attached:
    """goes_on: the weights of the state that the run resumes from.  Raises Failure."""
    family, parts = loaded.family, loaded.parts
    method = method_of(
        family, parts, settings, total_steps=total_steps, dtype=precision.learned, goes_on=goes_on
    )  # fmt: skip
    if settings.hardware.gradient_checkpointing:
        save_memory(parts.denoiser, *parts.text_encoders)
    return Attached(method, CaptionEncoder(family, parts, Reading.of(settings), method.trains_text_encoder))
