"""Aesthetic scores: how good a folder's pictures look to a predictor, written beside them or into a metadata file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from engine.data.metadata_list import listed_picture
from engine.data.scores import KEY, as_score, score_file
from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report, shown_name
from engine.settings.option import Group, like, option
from engine.settings.values import JobSettings
from engine.tools import metadata_file
from engine.tools.captioning import Beside
from engine.tools.folder_work import Captioner, Outcome, counted, gone_through
from engine.tools.pictures import PictureFolder, upright

PREDICTOR, SCORES = "Predictor", "Scores"


class PicturesToScore(PictureFolder):
    train_data_dir: str = like(
        PictureFolder,
        "train_data_dir",
        label="Image folder to score",
        help="The folder with the pictures. Without a metadata file, each picture's score is written next to it.",
    )
    recursive: bool = like(PictureFolder, "recursive")


class Predictor(Group):
    kind: Literal["CLIP and head", "ONNX"] = option(
        "CLIP and head",
        label="Kind of predictor",
        section=PREDICTOR,
        help="A CLIP model with a small trained head on top, as LAION publishes them, or a single ONNX file.",
    )
    model_id: str = option(
        "openai/clip-vit-large-patch14",
        label="CLIP model",
        section=PREDICTOR,
        help="A Hugging Face model name, or a folder with the model's files. It must be the one that the head was "
        "trained with.",
        widget="path",
        suggestions=("openai/clip-vit-large-patch14", "openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16"),
        must_be="given",
        applies_when={"kind": ("CLIP and head",)},
    )
    head: str = option(
        "",
        label="Head",
        section=PREDICTOR,
        help="The .safetensors or .pth file of the head: LAION's improved aesthetic predictor "
        "(sac+logos+ava1-l14-linearMSE.pth, from github.com/christophschuhmann/improved-aesthetic-predictor) or one of "
        "its linear heads (such as sa_0_4_vit_l_14_linear.pth, from github.com/LAION-AI/aesthetic-predictor). Their "
        "scores are mostly between 1 and 10.",
        widget="file",
        must_be="file",
        applies_when={"kind": ("CLIP and head",)},
        source="Schuhmann et al. 2022, arXiv:2210.08402",
    )
    onnx_file: str = option(
        "",
        label="ONNX file",
        section=PREDICTOR,
        help="A model that takes pictures prepared as for CLIP and answers with one number for each.",
        widget="file",
        must_be="file",
        applies_when={"kind": ("ONNX",)},
    )
    batch_size: int = option(
        1, ge=1, le=256, label="Batch size", section=PREDICTOR, help="How many pictures to process at once."
    )


class Scores(Group):
    in_json: str = option(
        "",
        label="Metadata file",
        section=SCORES,
        widget="file",
        help="A metadata file for fine-tuning (.json) that scores are written into, under aesthetic_score, for the "
        "pictures that it lists; names without a full path are looked up in the image folder. The old version is kept "
        "as a .bak file. Leave empty to write each score into a .score file next to its picture, where every kind of "
        "training finds it.",
    )
    overwrite: bool = option(
        False,
        label="Overwrite existing scores",
        section=SCORES,
        help="Off: pictures that already have a score are skipped. On: they are scored again; a .score file is kept "
        "next to the new one as a .bak file.",
    )


class Settings(JobSettings):
    pictures: PicturesToScore = Field(default_factory=PicturesToScore)
    predictor: Predictor = Field(default_factory=Predictor)
    scores: Scores = Field(default_factory=Scores)

    def title(self) -> str:
        return f"scores-{Path(self.pictures.train_data_dir).name}"

    def failures(self) -> Iterator[Failure]:
        listed = self.scores.in_json
        if not listed:
            yield from self.pictures.failures()
        elif not Path(listed).is_file():
            yield Failure(f"There is no file {listed}.", "Correct the path.", "in_json")
        elif Path(listed).suffix.lower() != ".json":
            yield Failure(
                f"Metadata file is {Path(listed).name}, but scores can only be written into a .json file.",
                "Choose one, or clear the field: training also finds scores next to the pictures of other lists.",
                "in_json",
            )


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Score the pictures that have no score yet."""
    report.stage("looking", detail=settings.scores.in_json or settings.pictures.train_data_dir)
    if settings.scores.in_json:
        target: Beside | _InList = _InList(settings, run, report)
    else:
        target = Beside(
            settings.pictures,
            run,
            report,
            file_of=score_file,
            overwrite=settings.scores.overwrite,
            around=_number,
            thing="score",
        )
    outcome = gone_through(target, run, report, lambda: _loaded(settings.predictor, report))
    scores = [float(said) for said in target.said()]
    if scores:
        low, middle, high = np.quantile(scores, (0.1, 0.5, 0.9))
        report.result(
            f"Scores of {counted(len(scores), 'picture')}: {min(scores):.2f} to {max(scores):.2f}, "
            f"{sum(scores) / len(scores):.2f} on average.",
            [f"A tenth of them is below {low:.2f}, half below {middle:.2f}, a tenth above {high:.2f}."],
        )
    return outcome


def _loaded(predictor: Predictor, report: Report) -> Captioner:
    """A captioner that says the score, as text.  Raises Failure."""
    from engine.tools.scorers import ClipScorer, OnnxScorer

    if predictor.kind == "ONNX":
        report.stage("loading", detail=predictor.onnx_file)
        of_onnx = OnnxScorer(Path(predictor.onnx_file), "onnx_file")

        def said_by_onnx(pictures: Sequence[np.ndarray]) -> list[str]:
            return [f"{score:.4f}" for score in of_onnx.scores(pictures)]

        return Captioner(said_by_onnx, predictor.batch_size, lambda file: of_onnx.prepared(upright(file)))
    report.stage("loading", detail=predictor.model_id)
    of_clip = ClipScorer(predictor.model_id, Path(predictor.head))

    def said_by_clip(pictures: Sequence[Image.Image]) -> list[str]:
        return [f"{score:.4f}" for score in of_clip.scores(pictures)]

    return Captioner(said_by_clip, predictor.batch_size)


def _number(said: str) -> str:
    """Raises ValueError with a sentence about the picture where the predictor did not give a number."""
    if not math.isfinite(float(said)):
        raise ValueError(f"the predictor gives no number for it ({said})")
    return said


class _InList:
    """The pictures of a metadata file, whose scores go into it at the end, or when the run is stopped.

    Until then they are in the run's notes, so that a run that was killed goes on where it was.
    """

    def __init__(self, settings: Settings, run: RunFolder, report: Report) -> None:
        self._report, self._notes, self._file = report, run.done_file, Path(settings.scores.in_json)
        self._metadata = metadata_file.read(self._file, "in_json")
        self._scores = {name: score for name, score in _noted(self._notes).items() if name in self._metadata}
        self._names: dict[Path, list[str]] = {}
        self._last, self._left_out, self._had_one = "", 0, 0
        folder = Path(settings.pictures.train_data_dir)
        for name, entry in self._metadata.items():
            if name in self._scores:
                continue
            if entry.get(KEY) is not None and not settings.scores.overwrite:
                self._had_one += 1
            elif picture := listed_picture(folder / name):
                self._names.setdefault(picture, []).append(name)
            else:
                self.leave_out(folder / name, "is listed, but does not exist")
        self.todo = list(self._names)

    def leave_out(self, file: Path, why: str) -> None:
        self._left_out += 1
        self._report.left_out(file, why)

    def write(self, picture: Path, said: str) -> None:
        try:
            score = float(_number(said))
        except ValueError as error:
            self.leave_out(picture, str(error))
            return
        with self._notes.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps({"name": name, "score": score}) + "\n" for name in self._names[picture])
            stream.flush()
            os.fsync(stream.fileno())
        self._scores |= dict.fromkeys(self._names[picture], score)
        self._last = f"{shown_name(Path(picture.name))}: {said}"

    def said(self) -> list[str]:
        return [str(score) for score in self._scores.values()]

    def last(self) -> str:
        return self._last

    def end(self, how: Literal["done", "stopped"]) -> Outcome:
        for name, score in self._scores.items():
            self._metadata[name][KEY] = score
        if self._scores:
            metadata_file.write(self._file, self._metadata, "in_json")
        parts = [f"{counted(len(self._scores), 'score')} written into {shown_name(self._file)}"]
        parts += [f"{counted(self._had_one, 'picture')} already had one"] if self._had_one else []
        parts += [f"{self._left_out} left out"] if self._left_out else []
        self._report.result(", ".join(parts) + ".")
        return how, len(self._scores)


def _noted(notes: Path) -> dict[str, float]:
    """What a run that goes on has scored before; a picture with half a line at the end counts as not done."""
    scores: dict[str, float] = {}
    try:
        *lines, rest = notes.read_bytes().split(b"\n")
    except FileNotFoundError:
        return scores
    if rest:
        with notes.open("ab") as stream:
            stream.write(b"\n")
    for line in lines:
        try:
            note: Any = json.loads(line)
            scores[str(note["name"])] = as_score(note["score"])
        except (ValueError, KeyError, TypeError):
            continue
    return scores
