"""The jobs, by their names on the command line; each is imported only when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.settings.values import JobSettings


@dataclass(frozen=True)
class Job:
    """settings, function, report: "module:name", where

    settings is a JobSettings, whose import must not need torch, because the page imports it;
    function is called with (settings, run, report) and returns ("done" or "stopped", how many steps or things);
    report is called with (writer, settings, run) and makes the Report that function is given.
    smaller: what takes less memory, and smaller_option: the first of these options.
    help: one sentence.  tab: a utility's place within Utilities, such as "Captioning/WD14 tagger".
    """

    settings: str
    function: str
    help: str
    tab: str = ""
    report: str = "engine.runs.report:report_of"
    smaller: str = "Lower Batch size"
    smaller_option: str = "batch_size"

    def settings_class(self) -> type[JobSettings]:
        return _named(self.settings)

    def load(self) -> Callable[..., tuple[Any, int]]:
        return _named(self.function)

    def load_report(self) -> Callable[..., Any]:
        return _named(self.report)


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def utility(module: str, tab: str, help: str, settings: str = "Settings", function: str = "work") -> Job:
    """A file of engine/tools; if it contains several utilities, each has its own names there."""
    return Job(f"engine.tools.{module}:{settings}", f"engine.tools.{module}:{function}", help, tab)


JOBS: dict[str, Job] = {
    "train": Job(
        "engine.settings.training:TrainingSettings",
        "engine.training.train:train",
        "Train with the settings in a file.",
        report="engine.training.report:report_of",
        smaller="Lower Train batch size or Max resolution, turn on Gradient checkpointing and Cache latents",
        smaller_option="train_batch_size",
    ),
    "caption-basic": utility(
        "basic", "Captioning/Basic", "Give every picture the same caption, or edit existing captions."
    ),
    "caption-wd14": utility("wd14", "Captioning/WD14", "Tag pictures with a WD14 tagger."),
    "caption-blip": utility("blip", "Captioning/BLIP", "Caption pictures with BLIP.", "BlipSettings", "blip"),
    "caption-blip2": utility("blip", "Captioning/BLIP-2", "Caption pictures with BLIP-2.", "Blip2Settings", "blip2"),
    "caption-git": utility("blip", "Captioning/GIT", "Caption pictures with GIT.", "GitSettings", "git"),
    "caption-florence2": utility(
        "prompted", "Captioning/Florence-2", "Caption pictures with Florence-2.", "FlorenceSettings", "florence"
    ),
    "caption-qwen": utility(
        "prompted",
        "Captioning/Qwen-VL",
        "Caption pictures with Qwen-VL, a vision-language chat model that follows your instructions.",
        "ChatSettings",
        "chat",
    ),
    "compare-captioners": utility(
        "compare",
        "Captioning/Compare",
        "Caption a few pictures with two captioners and compare the results side by side.",
    ),
    "score-pictures": utility(
        "scoring",
        "Aesthetic scores/Score pictures",
        "Score how good pictures look, so that training can weight, filter or tag them by their scores.",
    ),
    "merge-captions": utility(
        "metadata_merge", "Captions as metadata/Merge", "Collect captions or tags into one metadata file."
    ),
    "clean-captions": utility(
        "metadata_clean", "Captions as metadata/Clean", "Clean up the captions and tags in a metadata file."
    ),
    "prepare-dataset": utility(
        "prepare",
        "Dataset/Prepare",
        "Copy pictures into the folder layout for training: balance concepts, convert files, and split off a "
        "validation set.",
    ),
    "prepare-latents": utility(
        "prepare_latents",
        "Dataset/Prepare latents",
        "Sort pictures into buckets and encode them before training, and write the metadata for fine-tuning.",
    ),
    "group-images": utility(
        "group_images", "Dataset/Group images", "Copy pictures into folders grouped by aspect ratio."
    ),
}

UTILITIES = {name: job for name, job in JOBS.items() if job.tab}
