"""BLIP, GIT and BLIP-2: sentences for pictures.  The three differ in their models alone.

Sources: Li et al. 2022, arXiv:2201.12086; Wang et al. 2022, arXiv:2205.14100; Li et al. 2023, arXiv:2301.12597.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image
from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.tools.captioning import Captioner, CaptionerSettings, Outcome, caption_folder
from engine.tools.describing import MODEL, Batch, Decoding, load_describer, seeded

HELP = "A name of the Hugging Face hub, or a folder with the model's files."


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


class _Sentences(CaptionerSettings):
    batch: Batch = Field(default_factory=Batch)
    decoding: Decoding = Field(default_factory=Decoding)

    def failures(self) -> Iterator[Failure]:
        if failure := self.decoding.too_short():
            yield failure
        yield from super().failures()


class BlipSettings(_Sentences):
    model: BlipModel = Field(default_factory=BlipModel)


class GitSettings(_Sentences):
    model: GitModel = Field(default_factory=GitModel)


class Blip2Settings(_Sentences):
    model: Blip2Model = Field(default_factory=Blip2Model)


def blip(settings: BlipSettings, run: RunFolder, report: Report) -> Outcome:
    return _caption(settings, settings.model.model_id, "BlipForConditionalGeneration", run, report)


def git(settings: GitSettings, run: RunFolder, report: Report) -> Outcome:
    return _caption(settings, settings.model.model_id, "GitForCausalLM", run, report)


def blip2(settings: Blip2Settings, run: RunFolder, report: Report) -> Outcome:
    return _caption(settings, settings.model.model_id, "Blip2ForConditionalGeneration", run, report)


def _caption(settings: _Sentences, source: str, model_class: str, run: RunFolder, report: Report) -> Outcome:
    def load() -> Captioner:
        report.stage("loading", detail=source)
        describer = load_describer(source, model_class)
        seeded(settings.decoding.seed)

        def describe(pictures: Sequence[Image.Image]) -> list[str]:
            tokens = describer.model.generate(**describer.pixels(pictures), **settings.decoding.arguments())
            return describer.words(tokens)

        return Captioner(describe, settings.batch.batch_size)

    return caption_folder(settings, run, report, load)
