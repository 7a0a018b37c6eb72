"""What a run learns from, whichever way the settings describe it.  Needs no torch.

Everything that counts, checks or trains on pictures asks here, so that it sees the same ones.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from engine.data.dataset_config import read_dataset_config
from engine.data.folders import scan
from engine.data.items import Subset, TrainingSet, items_of
from engine.data.metadata_list import listed_items
from engine.data.steps import StepPlan, plan_of
from engine.data.templates import SENTENCES, described_by_template
from engine.failure import Failure
from engine.settings.paths import with_whole_paths
from engine.settings.training import TrainingSettings

MOST_SHOWN = 20_000_000
"""A million pictures twenty times.  The order of an epoch takes some hundred bytes for each, in every process."""

OPPOSITE = -1.0
"""The strength at which a LoRA learns the pictures of the opposite."""

Description = Literal["dataset_config", "in_json", "train_data_dir"]


def described_by(settings: TrainingSettings) -> Description:
    """The option that says which pictures there are; a list counts for fine-tuning and for a LoRA."""
    if settings.folders.dataset_config:
        return "dataset_config"
    if settings.method in ("lora", "finetune") and settings.whole_model.in_json:
        return "in_json"
    return "train_data_dir"


def learning_from(settings: TrainingSettings, values: dict[str, str]) -> tuple[TrainingSettings, list[str]]:
    """(The settings with these values, what was cleared), so that the pictures that they name are those learned from.

    values: by option, train_data_dir among them. A dataset config or list that would count in its place is cleared.
    """
    known = {item.name: item for item in settings.options()}
    own = settings.values()
    cleared = [name for name in ("dataset_config", "in_json") if own[name] and not values.get(name)]
    labels = [f"{known[name].short_label} was cleared; it was {own[name]}." for name in cleared]
    return settings.with_values(dict.fromkeys(cleared, "") | values), labels


def training_set(settings: TrainingSettings, *, own_captions: bool = False) -> TrainingSet:
    """The pictures with what an epoch does with each.  Raises Failure, and OSError where a folder cannot be read.

    own_captions: even where a template's sentences take their place.
    """
    found = _described(settings) if own_captions else _told(_described(settings), settings)
    if (shown := sum(item.repeats for item in found.items)) > MOST_SHOWN:
        by = described_by(settings)
        raise Failure(
            f"An epoch would have {shown:,} pictures (pictures × repeats); at most {MOST_SHOWN:,} are possible."
            if shown < 1e15
            else f"An epoch would have {shown:.0e} pictures (pictures × repeats); at most {MOST_SHOWN:,} are possible.",
            {
                "dataset_config": "Lower num_repeats in the file.",
                "train_data_dir": "Lower the number of repeats at the start of the folder names.",
            }.get(by, "Lower Dataset repeats."),
            by,
        )
    if found.held_out and all(item.is_regularisation for item in found.items):
        by = described_by(settings)
        raise Failure(
            "Every picture is held out for the validation loss, so none are left to train on.",
            "Lower the validation_split of a dataset, or Validation split, which applies where the file sets none."
            if by == "dataset_config"
            else "Lower Validation split.",
            by if by == "dataset_config" else "validation_split",
        )
    return found


def plan_here(settings: TrainingSettings) -> StepPlan | None:
    """How many steps a run has, where its pictures can be counted on this machine."""
    try:
        plan = plan_of(training_set(with_whole_paths(settings)).items, settings)
    except (Failure, OSError, ValueError):
        return None
    return plan if plan.pictures else None


def _told(found: TrainingSet, settings: TrainingSettings) -> TrainingSet:
    """With sentences in place of captions, where the settings say so."""
    template, words = settings.applied("caption_template"), settings.new_words()
    if template not in SENTENCES or not words:
        return found
    items, held_out = (described_by_template(template, words[0], some) for some in (found.items, found.held_out))
    return replace(found, items=items, held_out=held_out)


def _described(settings: TrainingSettings) -> TrainingSet:
    folders, fine, subset = settings.folders, settings.whole_model, Subset.of(settings)
    by = described_by(settings)
    if by == "dataset_config":
        return read_dataset_config(Path(folders.dataset_config), settings)
    if by == "in_json":
        around, repeats = folders.train_data_dir, settings.loose_repeats() or 1
        return TrainingSet.of(listed_items(Path(fine.in_json), Path(around) if around else None, repeats, subset))
    if not folders.train_data_dir:
        raise Failure("No image folder is chosen.", "Enter or choose one.", by)
    regularisation = items_of(scan(Path(folders.reg_data_dir)), subset) if folders.reg_data_dir else []
    found = scan(Path(folders.train_data_dir), settings.loose_repeats())
    if not (opposite := settings.applied("opposite_data_dir")):
        return TrainingSet.of(items_of(found, subset), regularisation)
    of_opposite = items_of(scan(Path(opposite)), replace(subset, dataset=1, strength=OPPOSITE))
    return TrainingSet.of_datasets([(items_of(found, subset), regularisation), (of_opposite, [])])
