"""Counts networks for the page, as fast as its user types: one process that keeps models without their weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from engine.failure import Failure
from engine.models.families import family_of
from engine.models.family import Family
from engine.models.parts import Parts
from engine.models.published import published
from engine.models.skeleton import without_weights
from engine.networks.count import count
from engine.networks.made import reach_of
from engine.settings.block_lists import block_of
from engine.settings.paths import is_hub_name
from engine.settings.training import TrainingSettings
from engine.training.hardware import Precision
from engine.training.stages.load import load_model

KEPT = 4
"""Models of which the layers are known at a time."""


@dataclass(frozen=True)
class _Model:
    """Without weights.  usual: whether it is its family's published one.  blocks: see answer()."""

    parts: Parts
    usual: bool
    blocks: dict[str, int]


class Counter:
    def __init__(self) -> None:
        self._models: dict[tuple[str, str], _Model] = {}

    def answer(self, settings: TrainingSettings) -> dict[str, Any]:
        """Count's values, or a failure and the option that it is about; with both, how many blocks the denoiser has in
        each section that has some, where the model is known.

        usual: whether the family's published model was counted, since the settings' own is not here.
        """
        known: dict[str, Any] = {}
        try:
            family, model = family_of(settings), self._model_of(settings)
            known = {"blocks": model.blocks}
            return (
                asdict(count(settings, family.lora_targets(model.parts, reach_of(settings))))
                | known
                | {"usual": model.usual}
            )
        except Failure as failure:
            return {"failure": failure.what, "option": failure.option} | known

    def _model_of(self, settings: TrainingSettings) -> _Model:
        name = settings.source_model.pretrained_model_name_or_path
        key = name, settings.family()
        if key not in self._models:
            while len(self._models) >= KEPT:
                del self._models[next(iter(self._models))]
            try:
                with without_weights():
                    parts, usual = load_model(settings, Precision.of(settings, "no")).parts, False
            except Failure:
                if not is_hub_name(name) or (found := published(settings.family(), name)) is None:
                    raise
                parts, usual = found, True
            self._models[key] = _Model(parts, usual, _blocks_of(family_of(settings), parts))
        return self._models[key]


def _blocks_of(family: Family, parts: Parts) -> dict[str, int]:
    """How many blocks each section has, by the layers that a standard LoRA is on."""
    counted: dict[str, int] = {}
    for target in family.lora_targets(parts):
        for attachment in target.attachments if target.group == "unet" else ():
            if block := block_of(attachment.name):
                counted[block.section] = max(counted.get(block.section, 0), block.number + 1)
    return counted


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
