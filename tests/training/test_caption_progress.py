"""Encoding captions tells how far it is, and ends where the user asks to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engine.failure import Stopped
from engine.models.conditioning import Reading
from engine.models.parts import Parts
from engine.runs.events import EventReader, Stage
from engine.runs.folder import RunFolder
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.conditioning import CaptionConditioning
from engine.training.kept_captions import KeptCaptions, kept_captions
from engine.training.report import Report
from engine.training.train import train
from tests.data.epochs import CaptionLengths

KEPT = TrainingSettings().with_values({"flux1_checkbox": True, "flux1_cache_text_encoder_outputs_to_disk": True})
COUNT = 40
CAPTIONS = ["x" * (number + 1) for number in range(COUNT)]


class Told(Report):
    """Keeps the stages that it is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.stages: list[tuple[str, int, int]] = []

    def stage(self, name: Any, done: int = 0, total: int = 0, detail: str = "") -> None:
        self.stages.append((name, done, total))


def kept_in(folder: Path, family: Any, parts: Parts) -> KeptCaptions:
    pictures = [folder / f"{number}.png" for number in range(COUNT)]
    variations = [KEPT.captions] * COUNT
    kept = kept_captions(
        CaptionEncoder(family, parts, Reading()), KEPT, pictures=pictures, captions=CAPTIONS, variations=variations,
        warn=print,
    )  # fmt: skip
    assert kept
    return kept


def encode(family: Any, kept: KeptCaptions | None, progress: CaptionProgress) -> CaptionConditioning:
    parts, variations = Parts(nn.Module(), nn.Module(), [], []), [KEPT.captions] * COUNT
    encoder, device = CaptionEncoder(family, parts, Reading()), torch.device("cpu")
    return CaptionConditioning(
        encoder, CAPTIONS, variations, steps=9, device=device, kept=kept, progress=progress
    )  # fmt: skip


@pytest.mark.parametrize("to_disk", [True, False])
def test_it_tells_how_many_are_encoded_until_all_are(tmp_path: Path, to_disk: bool):
    family, told = CaptionLengths(), Told()
    kept = kept_in(tmp_path, family, Parts(nn.Module(), nn.Module(), [], [])) if to_disk else None
    encode(family, kept, CaptionProgress(told))
    total = COUNT if to_disk else COUNT + 1  # with the empty one, which has no file
    assert told.stages == [("captions", done, total) for done in (0, 16, 32, total)]


@pytest.mark.parametrize("to_disk", [True, False])
def test_a_stop_ends_it_and_what_is_in_files_is_not_encoded_again(tmp_path: Path, to_disk: bool):
    family, parts = CaptionLengths(), Parts(nn.Module(), nn.Module(), [], [])
    kept = kept_in(tmp_path, family, parts) if to_disk else None
    with pytest.raises(Stopped):
        encode(family, kept, CaptionProgress(stop=lambda: family.asked >= 16))
    assert family.asked == 16
    if to_disk:
        again = kept_in(tmp_path, family, parts)
        assert len(again.lacking) == COUNT - 16
        encode(family, again, CaptionProgress())
        assert family.asked == COUNT


def test_where_nothing_is_encoded_nothing_is_told(tmp_path: Path):
    family, told = CaptionLengths(), Told()
    parts = Parts(nn.Module(), nn.Module(), [], [])
    encode(family, kept_in(tmp_path, family, parts), CaptionProgress())
    encode(family, kept_in(tmp_path, family, parts), CaptionProgress(told))
    assert told.stages == []


def test_a_run_that_is_asked_to_stop_while_captions_are_encoded_takes_no_step(settings: TrainingSettings):
    run = RunFolder.create("train", "{}", "shapes")

    class Asking(Report):
        def stage(self, name: Any, done: int = 0, total: int = 0, detail: str = "") -> None:
            super().stage(name, done, total, detail)
            if name == "captions":
                run.ask("stop")

    with pytest.raises(Stopped):
        train(settings.with_values({"text_encoder_lr": 0}), run, Asking(run.writer()))
    stages = [event.name for event in EventReader(run.events_file).read() if isinstance(event, Stage)]
    assert list(dict.fromkeys(stages)) == ["loading", "caching", "captions"]
