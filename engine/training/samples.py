"""Draws the sample pictures of a run and files them under kohya's names."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from engine.models.family import Drawing, Family, Parts, Reading
from engine.runs.events import Sample
from engine.runs.folder import RunFolder
from engine.settings.samples import SamplePrompt
from engine.settings.training import TrainingSettings
from engine.training.report import Report
from engine.training.samplers import make_sampler

PREVIEW_SIZE = 512
"""Largest side of the copy that the page shows, in pixels."""


class Autocast(Protocol):
    def __call__(self) -> AbstractContextManager[Any]: ...


class Sampler:
    """Draws every prompt on request; what it does leaves no trace on the training."""

    def __init__(
        self,
        family: Family,
        parts: Parts,
        settings: TrainingSettings,
        run: RunFolder,
        seed: int,
        autocast: Autocast,
        reading: Reading,
    ) -> None:
        self._family, self._parts, self._settings, self._run = family, parts, settings, run
        self._seed, self._autocast, self._reading = seed, autocast, reading
        self._prompts = settings.samples.prompts()

    def __bool__(self) -> bool:
        return bool(self._prompts)

    def draw(self, report: Report, step: int, epoch: int | None = None) -> None:
        """Draw and save all prompts after `step` steps; `epoch` (from 1) where an epoch has ended.

        A request to stop ends it between two pictures.
        """
        before = [(module, module.training, _device_of(module)) for module in self._parts.modules()]
        for module, _, _ in before:
            module.eval().to(self._parts.device)
        try:
            with torch.no_grad(), self._autocast():
                for index, prompt in enumerate(self._prompts):
                    if self._run.stop_requested():
                        break
                    report.stage("sampling", index, len(self._prompts), prompt.text[:80])
                    self._draw_one(prompt, index, report, step, epoch)
        finally:
            for module, was_training, device in before:
                module.train(was_training).to(device)
            report.pause()

    def _scheduler(self, name: str) -> Any:
        """None for a flow, which the family follows in its own way."""
        if self._parts.alphas_cumprod is None:
            return None
        return make_sampler(name, self._parts.alphas_cumprod, self._parts.prediction)

    def _draw_one(self, prompt: SamplePrompt, index: int, report: Report, step: int, epoch: int | None) -> None:
        width, height = self._settings.dataset.size()
        seed = self._seed if prompt.seed is None else prompt.seed
        scheduler = self._scheduler(prompt.sampler or self._settings.samples.sample_sampler)
        sample = Drawing(prompt, prompt.width or width, prompt.height or height, seed, self._reading)
        picture = self._family.draw(self._parts, sample, scheduler)
        place = f"e{epoch:06d}" if epoch is not None else f"{step:06d}"
        name = f"{self._settings.folders.output_name}_{place}_{index:02d}_{datetime.now():%Y%m%d%H%M%S}_{seed}"
        file = Path(self._settings.folders.output_dir) / "sample" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
        preview = self._run.previews_folder / f"{step:06d}_{index:02d}.webp"
        preview.parent.mkdir(exist_ok=True)
        picture.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
        picture.save(preview, quality=85)
        report.event(
            Sample(
                file=str(file),
                preview=preview.name,
                prompt=prompt.text,
                prompt_index=index,
                seed=seed,
                step=step,
            )
        )


def _device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
