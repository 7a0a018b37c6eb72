"""Reports a training run: like every job, plus its steps, and scalars for TensorBoard."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from engine.failure import Failure
from engine.runs import report
from engine.runs.events import EventWriter, Step, Validated
from engine.runs.folder import RunFolder
from engine.runs.report import FLUSH_EVERY
from engine.settings.training import TrainingSettings

FEWEST_SMOOTHED = 50
"""Least number of steps that the smoothed loss averages: with shorter epochs it would still jump about."""


class Report(report.Report):
    """Losses stay on the GPU until the next flush: reading one makes the GPU wait."""

    def __init__(self, writer: EventWriter | None, logging_dir: str = "", name: str = "") -> None:
        super().__init__(writer)
        self.device = torch.device("cpu")
        self._broken_losses = 0
        self._missed: set[Path] = set()
        self._has_spilled = False
        self._waiting: list[tuple[Step, Tensor, Tensor | None]] = []
        self._smoothed: float | None = None
        self._window = FEWEST_SMOOTHED
        self._recent: deque[tuple[float, int, int, float]] = deque(maxlen=50)
        self._board = _tensorboard(logging_dir, name) if writer and logging_dir else None

    def missed(
        self, pictures: Mapping[Path, str], so: str = "; others of the same size take its place, if there are any"
    ) -> None:
        """Pictures that could be read before and no longer can, with the reason; each is named once.

        so: the consequence, as the end of a sentence.
        """
        for picture, why in pictures.items():
            if picture not in self._missed:
                self._missed.add(picture)
                self.warn(f"{picture} can no longer be read ({why}){so}.")

    def step(
        self,
        step: int,
        total: int,
        *,
        epoch: int,
        pictures: int,
        loss: Tensor,
        grad_norm: Tensor | None,
        learning_rates: dict[str, float],
        waited: float = 0.0,
    ) -> None:
        """One optimizer step.  loss and grad_norm stay on their device until the next flush.

        waited: seconds since the start that steps spent waiting for pictures.
        """
        now = time.monotonic()
        self._recent.append((now, step, pictures, waited))
        began, first, _, waited_before = self._recent[0]
        rate = eta = waiting = None
        if step > first and now > began:
            waiting = min(1.0, (waited - waited_before) / (now - began))
            seen = sum(count for _, _, count, _ in list(self._recent)[1:])
            rate = seen / (now - began)
            eta = (now - began) / (step - first) * (total - step)
        event = Step(
            step=step, epoch=epoch, loss=None, smoothed_loss=0, learning_rates=learning_rates,
            images_per_second=rate, eta=eta, waiting=waiting,
        )  # fmt: skip
        self._waiting.append((event, loss, grad_norm))
        if now - self._flushed >= FLUSH_EVERY or step == total:
            self.flush()

    def validated(self, step: int, loss: float, pictures: int) -> None:
        """The loss on that many held-out pictures, after `step` steps."""
        self.event(Validated(step=step, loss=loss if math.isfinite(loss) else None, pictures=pictures))
        if self._writer:
            print(f"step {step}  validation loss {loss:.4f}", flush=True)
        if self._board:
            self._board.add_scalar("loss/validation", loss, step)

    def pause(self) -> None:
        """The time until the next step was spent on something else: keep it out of the speed."""
        self._recent.clear()

    def flush(self) -> None:
        """Fetch the pending losses at once and write them."""
        super().flush()
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = torch.stack([loss.detach().float() for _, loss, _ in waiting]).tolist()
        self._refuse_nan(losses, waiting[-1][0].step)
        events = []
        for (event, _, norm), loss in zip(waiting, losses, strict=True):
            finite = math.isfinite(loss)
            if finite:
                past = loss if self._smoothed is None else self._smoothed
                self._smoothed = past + (loss - past) / min(event.step, self._window)
            grad_norm = None if norm is None or not math.isfinite(norm) else float(norm)
            events.append(
                event.model_copy(
                    update={
                        "loss": loss if finite else None,
                        "smoothed_loss": self._smoothed or 0.0,
                        "grad_norm": grad_norm,
                    }
                )
            )
        events[-1] = events[-1].model_copy(update={"memory": memory_in_use(self.device)})
        if self._writer:
            self._writer.write(*events)
            self._show(events)
            self._watch_memory()

    def _watch_memory(self) -> None:
        """Report once that the GPU's memory is not enough: what does not fit is moved silently, and slowly."""
        if self.device.type != "cuda" or self._has_spilled:
            return
        free, total = torch.cuda.mem_get_info(self.device)
        self._has_spilled = spills(torch.cuda.memory_reserved(self.device), free, total)
        if self._has_spilled:
            self.warn(
                f"The GPU's {total / 2**30:.0f} GB are full, and the driver moves what does not fit to main memory: "
                "each step may take 50 times as long. Stop, open How much memory? and choose a way to reduce it."
            )

    @property
    def smoothed_loss(self) -> float | None:
        return self._smoothed

    def mean_over(self, steps_per_epoch: int) -> None:
        """The smoothed loss is the mean of all steps during the first epoch, like sd-scripts' average, and after that a
        mean in which steps an epoch ago have weight 1/e.
        """
        self._window = max(FEWEST_SMOOTHED, steps_per_epoch)

    def resume(self, smoothed_loss: float | None) -> None:
        self._smoothed = smoothed_loss

    def _refuse_nan(self, losses: list[float], step: int) -> None:
        """One step may overflow in fp16 and is skipped; several in a row never come back."""
        for loss in losses:
            self._broken_losses = 0 if math.isfinite(loss) else self._broken_losses + 1
            if self._broken_losses >= 5:
                raise broken_down(step - 4)

    def _show(self, events: list[Step]) -> None:
        last = events[-1]
        rate = f"  {last.images_per_second:.2f} images/s" if last.images_per_second else ""
        print(f"step {last.step}  epoch {last.epoch}  loss {last.smoothed_loss:.4f}{rate}", flush=True)
        if self._board:
            for event in events:
                if event.loss is not None:
                    self._board.add_scalar("loss/current", event.loss, event.step)
                self._board.add_scalar("loss/average", event.smoothed_loss, event.step)
                for group, value in event.learning_rates.items():
                    self._board.add_scalar(f"lr/{group}", value, event.step)
            self._board.flush()


def report_of(writer: EventWriter | None, settings: TrainingSettings, run: RunFolder) -> Report:
    """The report of a training run."""
    return Report(writer, settings.folders.logging_dir, run.name)


def broken_down(step: int) -> Failure:
    return Failure(
        f"The loss became NaN (not a number) around step {step}: training has broken down.",
        "Lower the learning rates, or set Mixed precision to bf16 or no. Files saved before that are fine.",
        "learning_rate",
    )


def memory_in_use(device: torch.device) -> int:
    """Bytes: the GPU's peak since the start if there is one, otherwise this process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def spills(reserved: int, free: int, total: int, platform: str = sys.platform) -> bool:
    """Whether a GPU's driver falls back to main memory, from the bytes that torch holds, that are free, and in total.

    Only Windows drivers do so (NVIDIA's "CUDA - Sysmem Fallback Policy"); other systems refuse the memory instead.
    """
    return platform == "win32" and (reserved > total or free < total // 100)


def _tensorboard(folder: str, name: str) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(Path(folder) / name))
