"""BLIP, GIT and BLIP-2: sentences for pictures.  The three differ in their models alone.

Sources: Li et al. 2022, arXiv:2201.12086; Wang et al. 2022, arXiv:2205.14100; Li et al. 2023, arXiv:2301.12597.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from pydantic import Field

from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.tools.describing import MODEL, WORDS, Decoding, load_describer
from engine.tools.folder_work import Outcome
from engine.tools.sentences import Describe, SentenceSettings, describe_folder

HELP = "A Hugging Face model name, or a folder with the model's files."


class BlipModel(Group):
    model_id: str = option(
        "Salesforce/blip-image-captioning-large",
        label="Model",
        section=MODEL,
        help=HELP,
        widget="path",
        suggestions=("Salesforce/blip-image-captioning-large", "Salesforce/blip-image-captioning-base"),
        must_be="given",
    )


class GitModel(Group):
    model_id: str = option(
        "microsoft/git-large-textcaps",
        label="Model",
        section=MODEL,
        help=HELP,
        widget="path",
        suggestions=("microsoft/git-large-textcaps", "microsoft/git-large-coco", "microsoft/git-base-coco"),
        must_be="given",
    )


class Blip2Model(Group):
    model_id: str = option(
        "Salesforce/blip2-opt-2.7b",
        label="Model",
        section=MODEL,
        help=HELP,
        widget="path",
        suggestions=("Salesforce/blip2-opt-2.7b", "Salesforce/blip2-opt-6.7b", "Salesforce/blip2-flan-t5-xl"),
        must_be="given",
    )


class Blip2Decoding(Decoding):
    """With the penalties and the temperature of kohya_ss's BLIP-2 tab."""

    repetition_penalty: float = option(
        1.5,
        ge=1,
        le=5,
        label="Repeat Penalty",
        section=WORDS,
        help="How strongly words that were already used are avoided; 1 means not at all.",
        source="Keskar et al. 2019, arXiv:1909.05858",
        also=("rep_penalty",),
    )
    length_penalty: float = option(
        1.0,
        ge=-1,
        le=2,
        label="Length Penalty",
        section=WORDS,
        help="With several beams: above 0 prefers longer captions, below 0 shorter ones.",
        applies_when={"beam_search": (True,)},
        also=("len_penalty",),
    )
    temperature: float = option(
        1.0,
        ge=0.5,
        le=1,
        label="Temperature",
        section=WORDS,
        help="Values below 1 make likely words even more likely.",
        applies_when={"beam_search": (False,)},
    )

    def arguments(self) -> dict[str, Any]:
        way = {"length_penalty": self.length_penalty} if self.beam_search else {"temperature": self.temperature}
        return {**super().arguments(), **way, "repetition_penalty": self.repetition_penalty}


class BlipSettings(SentenceSettings):
    model: BlipModel = Field(default_factory=BlipModel)


class GitSettings(SentenceSettings):
    model: GitModel = Field(default_factory=GitModel)


class Blip2Settings(SentenceSettings):
    decoding: Blip2Decoding = Field(default_factory=Blip2Decoding)
    model: Blip2Model = Field(default_factory=Blip2Model)


def blip(settings: BlipSettings, run: RunFolder, report: Report) -> Outcome:
    return _caption(settings, settings.model.model_id, "BlipForConditionalGeneration", run, report)


def git(settings: GitSettings, run: RunFolder, report: Report) -> Outcome:
    return _caption(settings, settings.model.model_id, "GitForCausalLM", run, report)


def blip2(settings: Blip2Settings, run: RunFolder, report: Report) -> Outcome:
    return _caption(settings, settings.model.model_id, "Blip2ForConditionalGeneration", run, report)


def _caption(settings: SentenceSettings, source: str, model_class: str, run: RunFolder, report: Report) -> Outcome:
    def load() -> Describe:
        describer = load_describer(source, model_class, settings.batch.weights)

        def describe(pictures: Sequence[Image.Image]) -> list[str]:
            tokens = describer.model.generate(**describer.pixels(pictures), **settings.decoding.arguments())
            return describer.words(tokens)

        return describe

    return describe_folder(settings, source, run, report, load)
