"""Tells the run's story: events for the page, lines for the log, scalars for TensorBoard."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from engine.failure import Failure
from engine.runs.events import Event, EventWriter, Stage, Step, Warned

SMOOTHING = 0.98
"""Weight of the past in the smoothed loss."""

FLUSH_EVERY = 0.5
"""Seconds between two looks at the GPU: reading a loss makes the GPU wait."""


class Report:
    """Events of one engine process.  Of several processes only the first has a writer."""

    def __init__(self, writer: EventWriter | None, logging_dir: str = "", name: str = "") -> None:
        self.device = torch.device("cpu")
        self._writer = writer
        self._broken_losses = 0
        self._waiting: list[tuple[Step, Tensor, Tensor | None]] = []
        self._smoothed: float | None = None
        self._flushed = time.monotonic()
        self._stage = ""
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=50)
        self._board = _tensorboard(logging_dir, name) if writer and logging_dir else None

    def event(self, event: Event) -> None:
        """Write an event now, after the steps that came before it."""
        self.flush()
        if self._writer:
            self._writer.write(event)

    def stage(self, name: Any, done: int = 0, total: int = 0, detail: str = "") -> None:
        """What the run does now; repeated calls for progress are cheap, and its beginning and end are always told."""
        now = time.monotonic()
        if name == self._stage and done not in (0, total) and now - self._flushed < FLUSH_EVERY:
            return
        self._flushed = now
        if name != self._stage or detail:
            print(f"{name}{f': {detail}' if detail else ''}", flush=True)
        self._stage = name
        self.event(Stage(name=name, done=done, total=total, detail=detail))

    def warn(self, text: str) -> None:
        print(f"warning: {text}", flush=True)
        self.event(Warned(text=text))

    def step(
        self,
        step: int,
        total: int,
        epoch: int,
        pictures: int,
        loss: Tensor,
        grad_norm: Tensor | None,
        learning_rates: dict[str, float],
    ) -> None:
        """One optimizer step.  loss and grad_norm stay on their device until the next flush."""
        now = time.monotonic()
        self._recent.append((now, step, pictures))
        began, first, _ = self._recent[0]
        rate = eta = None
        if step > first and now > began:
            seen = sum(count for _, _, count in list(self._recent)[1:])
            rate = seen / (now - began)
            eta = (now - began) / (step - first) * (total - step)
        event = Step(
            step=step, epoch=epoch, loss=None, smoothed_loss=0, learning_rates=learning_rates,
            images_per_second=rate, eta=eta,
        )  # fmt: skip
        self._waiting.append((event, loss, grad_norm))
        if now - self._flushed >= FLUSH_EVERY or step == total:
            self.flush()

    def pause(self) -> None:
        """Time until the next step was spent otherwise: keep it out of the speed."""
        self._recent.clear()

    def flush(self) -> None:
        """Fetch the waiting losses in one go and write them."""
        self._flushed = time.monotonic()
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
                self._smoothed = SMOOTHING * past + (1 - SMOOTHING) * loss
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

    @property
    def smoothed_loss(self) -> float | None:
        return self._smoothed

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


def broken_down(step: int) -> Failure:
    return Failure(
        f"The loss is no longer a number (NaN) since about step {step}: the training has broken down.",
        "Lower the learning rates, or set Mixed precision to bf16 or no. Files saved before are sound.",
        "learning_rate",
    )


def memory_in_use(device: torch.device) -> int:
    """Bytes: the GPU's peak since the start where one trains, else this process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _tensorboard(folder: str, name: str) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(Path(folder) / name))
