"""The loss on held-out pictures, with the same noise at the same timesteps each time it is measured.

So two values differ only by what was learned in between, within a run and between runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from engine.data.batches import Batches, MicroBatch
from engine.data.dataset import Shown, together
from engine.data.pictures import UnreadablePicture
from engine.objective.objective import Corrupted
from engine.settings.validation import Validation
from engine.training.conditioning import CaptionConditioning
from engine.training.held_out_captions import validation_seed
from engine.training.method import Method
from engine.training.model import Examples, Model
from engine.training.report import Report
from engine.training.training_pictures import TrainingPictures

TIMESTEPS = (0.2, 0.4, 0.6, 0.8)
"""Each picture is shown at these fractions of the way from Min to Max Timestep: sd-scripts' own four."""


@dataclass(kw_only=True)
class ValidationLoss:
    """measure() measures it; dropout and the like are off meanwhile.

    shown: within its block the weights are those to be measured.  stop: whether the user asks for it.
    """

    pictures: TrainingPictures
    settings: Validation
    method: Method
    model: Model
    conditioning: CaptionConditioning
    accelerator: Accelerator
    shown: Callable[[], AbstractContextManager[None]]
    stop: Callable[[], bool]

    def __post_init__(self) -> None:
        items, places = self.pictures.items, self.pictures.places
        batches = Batches(
            [1] * len(items),
            [item.subset.batch_size for item in items],
            accumulation=1,
            seed=self.settings.validation_seed,
            buckets=[item.bucket(place) for item, place in zip(items, places, strict=True)],
        )
        most = self.settings.max_validation_steps or batches.steps_per_epoch
        chosen = [batch for step in range(min(most, batches.steps_per_epoch)) for batch in batches.at(step)]
        self._mine = chosen[self.accelerator.process_index :: self.accelerator.num_processes]

    def measure(self, report: Report, step: int) -> bool:
        """Report the loss after `step` steps.  All processes share the work; training continues to the same bits.

        Returns True if the user asks to stop before all is measured: then nothing is reported. Each process checks for
        itself, but if one of them ends early, all of them return True.
        """
        device = self.accelerator.device
        losses, lost = torch.zeros(3, device=device), dict[Path, str]()
        devices = [device] if device.type == "cuda" else []
        with (
            self.shown(),
            resting_modules([self.model.parts.denoiser, *self.model.parts.text_encoders]),
            torch.no_grad(),
            torch.random.fork_rng(devices),
        ):
            for number, batch in enumerate(self._mine):
                if self.stop():
                    losses[2] = 1
                    break
                report.stage("validating", number, len(self._mine))
                losses[:2] += self._losses(batch, lost)
        total, count, unfinished = self.accelerator.reduce(losses, "sum").tolist()
        of_all = dict(gather_object(list(lost.items())))
        if unfinished:
            return True
        others = (
            "is measured on the others, so its curve has a break" if count else "is not measured, because none is left"
        )
        report.missed(of_all, f"; from step {step} on, the validation loss {others}")
        if count:
            report.validated(step, total / count, int(count))
        return False

    def _losses(self, batch: MicroBatch, lost: dict[Path, str]) -> Tensor:
        """(sum of the pictures' losses, their number); a picture's loss is the mean over the timesteps.

        A picture that has disappeared since the start is left out and added to `lost`, rather than ending a run that
        learns from others.
        """
        device, each = self.accelerator.device, []
        for index in batch.pictures:
            try:
                each.append(self._shown(index))
            except UnreadablePicture as gone:
                lost[gone.file] = gone.why
        if not each:
            return torch.zeros(2, device=device)
        shown = together(each)
        batch = replace(batch, pictures=shown.pictures)
        strength = self.pictures.items[batch.pictures[0]].subset.strength
        examples = Examples.of(self.model, shown, lambda: self.conditioning.of(batch), strength)
        total = torch.zeros((), device=device)
        for at in TIMESTEPS:
            corrupt = partial(self._corrupted, batch.pictures, at=at)
            total += self.method.losses(self.model, examples, corrupt).sum()
        return torch.stack([total / len(TIMESTEPS), total.new_tensor(len(batch.pictures))])

    def _shown(self, index: int) -> Shown:
        """Each picture separately, because without cached latents the VAE samples again.  Raises UnreadablePicture."""
        seed = validation_seed(self.pictures.items[index], "shown")
        torch.manual_seed(seed)
        return self.pictures.latents.shown(self.pictures.latents.read_alone(index, seed))

    def _corrupted(self, pictures: Sequence[int], latents: Tensor, at: float) -> Corrupted:
        """A picture's noise depends on its name, whatever else is in the batch."""
        several = []
        for index, one in zip(pictures, latents, strict=True):
            torch.manual_seed(validation_seed(self.pictures.items[index], at))
            several.append(self.model.objective.corrupt(one[None], at))
        return _together(several)


@contextmanager
def resting_modules(modules: Sequence[nn.Module]) -> Iterator[None]:
    """No dropout within the block; afterwards each part is back in its previous mode."""
    training = [part for module in modules for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _together(several: Sequence[Corrupted]) -> Corrupted:
    noisy, target, timesteps = (
        torch.cat([getattr(one, name) for one in several]) for name in ("noisy", "target", "timesteps")
    )
    return Corrupted(noisy, target, timesteps)
