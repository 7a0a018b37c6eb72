"""The settings of a training run: the groups together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import Field, ValidationError

from engine.settings.dataset import Dataset
from engine.settings.folders import Folders
from engine.settings.hardware import Hardware
from engine.settings.metadata import Metadata
from engine.settings.network import Network
from engine.settings.objective import Objective
from engine.settings.optimizer import Optimizer
from engine.settings.option import Group, Option, options_of
from engine.settings.samples import Samples
from engine.settings.saving import Saving
from engine.settings.source_model import SourceModel

Method = Literal["lora"]


class TrainingSettings(Group):
    """Everything a training run is told.

    kohya_extra: keys of a loaded kohya file that no option here stands for, kept for saving.
    """

    method: Method = "lora"
    source_model: SourceModel = Field(default_factory=SourceModel)
    folders: Folders = Field(default_factory=Folders)
    dataset: Dataset = Field(default_factory=Dataset)
    network: Network = Field(default_factory=Network)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    objective: Objective = Field(default_factory=Objective)
    saving: Saving = Field(default_factory=Saving)
    samples: Samples = Field(default_factory=Samples)
    hardware: Hardware = Field(default_factory=Hardware)
    metadata: Metadata = Field(default_factory=Metadata)
    kohya_extra: dict[str, Any] = Field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Every option's value by its name."""
        return {item.name: item.value_in(self) for item in training_options()}

    def with_values(self, values: Mapping[str, Any]) -> TrainingSettings:
        """A copy with some options changed.

        Raises BadValues with one sentence for each value that its option does not allow, and KeyError
        for a name that is no option.
        """
        tree = self.model_dump()
        known = {item.name: item for item in training_options()}
        for name, value in values.items():
            place = tree
            for part in known[name].path[:-1]:
                place = place[part]
            place[name] = _unset_as_default(known[name], value)
        try:
            return TrainingSettings.model_validate(tree)
        except ValidationError as error:
            raise BadValues({str(e["loc"][-1]): e["input"] for e in error.errors()}) from None


class BadValues(ValueError):
    """Some values are not allowed.  problems: one sentence for people by option name."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        known = {item.name: item for item in training_options()}
        self.problems = {name: _sentence(known[name], value) for name, value in given.items() if name in known}
        super().__init__(" ".join(self.problems.values()))


@cache
def training_options() -> tuple[Option, ...]:
    return tuple(options_of(TrainingSettings))


def _unset_as_default(item: Option, value: Any) -> Any:
    """None, and empty text where a number or switch is meant, are kohya's ways of saying nothing."""
    empty = value is None or (isinstance(value, str) and not value.strip())
    if empty and (value is None or item.kind is not str or (item.choices and "" not in item.choices)):
        return item.default
    if item.kind is str and not isinstance(value, str | bool) and isinstance(value, int | float):
        return str(value)
    return value


def _sentence(item: Option, value: Any) -> str:
    expected = item.range_text()
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    wanted = expected if item.choices else " ".join(filter(None, [kinds[item.kind], expected and f"({expected})"]))
    shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
    return f"{item.label} is {shown}; it takes {wanted}."
