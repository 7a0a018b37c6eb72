"""Conditioning: a model's inputs besides noisy latents, and how captions are read for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from engine.settings.training import TrainingSettings

Conditioning = dict[str, Tensor]
"""The text encoders' outputs for captions, by name; the first dimension of each tensor counts the captions."""


@dataclass(frozen=True)
class Reading:
    """How captions are read.

    clip_skip: the text encoder's layer, counted from the last, 0 and 1 for the last.
    tokens: how many tokens of a caption at most: 75, 150 or 225.  weighted: (word:1.3) is emphasis, if captions
    are read by CLIP alone.  negatives: how many of the captions, at the end, are negative prompts.
    """

    clip_skip: int = 1
    tokens: int = 75
    weighted: bool = False
    negatives: int = 0

    @classmethod
    def of(cls, settings: TrainingSettings) -> Reading:
        captions = settings.captions
        return cls(settings.objective.clip_skip, int(captions.max_token_length), captions.weighted_captions)


@dataclass(frozen=True)
class CaptionLimit:
    """The longest caption that any of the text encoders reads.

    tokens: without the start and end tokens.  option: the name of the one that raises the limit.
    """

    tokenizer: Any
    tokens: int
    option: str
