"""A folder of pictures laid out for training: sub-folders REPEATS_WORDS, regularisation, validation.  All is copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from engine.disk import why_not
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.settings.values import JobSettings
from engine.tools.copying import Converting, copy_all, destination_failures
from engine.tools.folder_work import Outcome, counted
from engine.tools.layout import Plan, balanced, beside, concepts_in, split_off

IMAGES, REGULARISATION, VALIDATION = "img", "reg", "val"
"""The sub-folders of the destination; the first two are kohya_ss's."""

UNFIT = '/\\\0\n\r<>:"|?*'
"""What no folder's name can hold, on Windows at least."""


class Layout(Group):
    train_data_dir: str = option(
        "",
        label="Training images (directory containing the training images)",
        section="Folders",
        widget="folder",
        must_be="folder",
        help="The pictures, directly in this folder or in sub-folders. A sub-folder named REPEATS_WORDS keeps its "
        "name; any other becomes a concept named after it. Captions are copied too.",
    )
    instance_prompt: str = option(
        "",
        label="Instance prompt",
        section="Folders",
        help='What the pictures directly in this folder show, such as "sks".',
    )
    class_prompt: str = option(
        "", label="Class prompt", section="Folders", help='What kind of thing it is, such as "cat".'
    )
    repeats: int = option(
        10,
        ge=1,
        le=10000,
        label="Repeats",
        section="Folders",
        help="How many times each of these pictures is seen per epoch.",
    )
    reg_data_dir: str = option(
        "",
        label="Regularisation images (Optional. directory containing the regularisation images)",
        section="Folders",
        widget="folder",
        help="Pictures of the same class but not of your subject.",
    )
    reg_repeats: int = option(
        1, ge=1, le=10000, label="Repeats of regularisation images", section="Folders", help="Usually 1."
    )
    destination: str = option(
        "",
        label="Destination training directory (where formatted training and regularisation folders will be placed)",
        section="Folders",
        widget="folder",
        must_be="given",
        help=f"The sub-folders {IMAGES}, {REGULARISATION} and {VALIDATION} are created here. Existing files are never "
        "replaced, and your own pictures stay where they are.",
    )


class Sharing(Group):
    concept_steps: int = option(
        0,
        ge=0,
        label="Training steps per concept per epoch",
        section="Repeats and validation",
        help="Balances concepts by setting their repeats so that an epoch shows about this many pictures of each. 0 "
        "keeps the repeats as they are.",
    )
    validation_split: float = option(
        0.0,
        ge=0,
        le=0.9,
        label="Validation split",
        section="Repeats and validation",
        help=f"Share of each concept's pictures that go into the sub-folder {VALIDATION} instead, to check the model "
        "on pictures it was not trained on: 0.1 is a tenth.",
    )
    seed: int = option(
        0,
        ge=0,
        label="Seed",
        section="Repeats and validation",
        help="A different seed selects different pictures for validation.",
    )


class Settings(JobSettings):
    layout: Layout = Field(default_factory=Layout)
    sharing: Sharing = Field(default_factory=Sharing)
    converting: Converting = Field(default_factory=Converting)

    @classmethod
    def for_pictures(cls, folder: Path, regularisation: str = "") -> dict[str, str]:
        prepared = beside(folder, "prepared")
        return {"train_data_dir": str(folder), "reg_data_dir": regularisation, "destination": str(prepared)}

    def to_train_on(self) -> dict[str, str]:
        out = Path(self.layout.destination)
        regularisation = {"reg_data_dir": str(out / REGULARISATION)} if self.layout.reg_data_dir else {}
        return {"train_data_dir": str(out / IMAGES)} | regularisation

    def title(self) -> str:
        return f"prepare-{Path(self.layout.train_data_dir).name}"

    def failures(self) -> Iterator[Failure]:
        layout = self.layout
        for name, label in (("instance_prompt", "Instance prompt"), ("class_prompt", "Class prompt")):
            text = str(self.values()[name])
            if unfit := sorted(set(text) & set(UNFIT)):
                yield Failure(
                    f"{label} is {text!r}, but a folder name cannot contain {unfit[0]!r}.",
                    "Remove that character.",
                    name,
                )
                return
        if layout.reg_data_dir and not Path(layout.reg_data_dir).is_dir():
            yield Failure(f"There is no folder {layout.reg_data_dir}.", "Correct the path.", "reg_data_dir")
            return
        folders = {"train_data_dir": layout.train_data_dir, "reg_data_dir": layout.reg_data_dir}
        for name, folder in folders.items():
            try:
                if folder and not any(concept.pictures for concept in concepts_in(Path(folder), "", 1)):
                    yield Failure(f"There are no pictures in {folder}.", "Choose another folder.", name)
            except OSError as error:
                yield Failure(f"{folder} cannot be read: {why_not(error)}.", "Choose another folder.", name)
        out = Path(layout.destination)
        yield from destination_failures(
            self, [out / name for name in (IMAGES, REGULARISATION, VALIDATION)], "destination"
        )

    def plan(self) -> tuple[Plan, list[str]]:
        """Every copy, and a sentence for each concept.  Raises OSError."""
        layout, out, plan = self.layout, Path(self.layout.destination), Plan(self.converting.ending())
        words = " ".join(filter(None, [layout.instance_prompt.strip(), layout.class_prompt.strip()])) or "concept"
        concepts = concepts_in(Path(layout.train_data_dir), words, layout.repeats)
        if self.sharing.concept_steps:
            concepts = balanced(concepts, self.sharing.concept_steps)
        lines: list[str] = []
        for concept in concepts:
            training, validation = split_off(concept.pictures, self.sharing.validation_split, self.sharing.seed)
            plan.add_concept(out / IMAGES, concept.repeats, concept.words, training)
            plan.add_concept(out / VALIDATION, 1, concept.words, validation)
            kept = f", {len(validation)} for validation" if validation else ""
            lines.append(f"{concept.words}: {counted(len(training), 'picture')} × {concept.repeats}{kept}")
        if layout.reg_data_dir:
            of_class = layout.class_prompt.strip() or "class"
            for concept in concepts_in(Path(layout.reg_data_dir), of_class, layout.reg_repeats):
                plan.add_concept(out / REGULARISATION, concept.repeats, concept.words, concept.pictures)
                pictures = counted(len(concept.pictures), "picture")
                lines.append(f"{concept.words} (regularisation): {pictures} × {concept.repeats}")
        return plan, lines


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Copy as planned.  Nothing of the user's is changed."""
    report.stage("working")
    plan, lines = settings.plan()
    destination = Path(settings.layout.destination)
    outcome, words = copy_all(settings, destination, plan.copies, settings.converting, run, report)
    if outcome[0] == "done":
        words += f" Choose {destination / IMAGES} as the Image folder."
    report.result(words, lines if outcome[0] == "done" else [])
    return outcome
