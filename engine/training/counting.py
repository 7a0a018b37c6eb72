"""Counts networks for the page, as fast as its user types: one process that keeps models without their weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TextIO

from engine.failure import Failure
from engine.models.families import family_of
from engine.models.parts import Parts
from engine.models.published import published
from engine.models.skeleton import without_weights
from engine.networks.count import count
from engine.networks.made import reach_of
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings
from engine.training.hardware import Precision
from engine.training.stages.load import load_model

KEPT = 4
"""Models of which the layers are known at a time."""


class Counter:
    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], tuple[Parts, bool]] = {}

    def answer(self, settings: TrainingSettings) -> dict[str, Any]:
        """Count's values, or a failure and the option that it is about.

        usual: whether the family's published model was counted, since the settings' own is not here.
        """
        try:
            family, (parts, usual) = family_of(settings), self._parts_of(settings)
            return asdict(count(settings, family.lora_targets(parts, reach_of(settings)))) | {"usual": usual}
        except Failure as failure:
            return {"failure": failure.what, "option": failure.option}

    def _parts_of(self, settings: TrainingSettings) -> tuple[Parts, bool]:
        name = settings.source_model.pretrained_model_name_or_path
        key = name, settings.family()
        if key not in self._parts:
            while len(self._parts) >= KEPT:
                del self._parts[next(iter(self._parts))]
            try:
                with without_weights():
                    self._parts[key] = load_model(settings, Precision.of(settings, "no")).parts, False
            except Failure:
                if not is_hub_name(name) or (parts := published(settings.family())) is None:
                    raise
                self._parts[key] = parts, True
        return self._parts[key]


def count_each(questions: Iterable[str], answers: TextIO) -> None:
    """A line of settings as JSON in, a line of JSON out, until there are no more."""
    counter = Counter()
    for question in questions:
        try:
            answer = counter.answer(TrainingSettings.model_validate_json(question))
        except Exception as error:  # of one model; the next question may be of another
            answer = {"failure": f"{type(error).__name__}: {error}", "option": ""}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
