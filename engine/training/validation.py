"""The loss on pictures that are held out, with the same noise at the same timesteps each time it is measured.

So two values differ by what was learned in between and by nothing else, within a run and between runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from engine.data.batches import Batches, MicroBatch, derived_seed
from engine.data.captions import settled
from engine.data.dataset import Shown, together
from engine.data.folders import short
from engine.data.items import Item, captions_of
from engine.data.pictures import UnreadablePicture
from engine.models.conditioning import Conditioning, Reading
from engine.models.family import Family
from engine.models.parts import Parts
from engine.objective.objective import Corrupted, TrainingObjective
from engine.settings.captions import Captions
from engine.settings.training import TrainingSettings
from engine.training.caption_progress import CaptionProgress
from engine.training.conditioning import CaptionConditioning
from engine.training.kept_captions import kept_captions
from engine.training.report import Report
from engine.training.training_pictures import TrainingPictures

TIMESTEPS = (0.2, 0.4, 0.6, 0.8)
"""Each picture is shown at these, of the way from Min to Max Timestep: sd-scripts' own four."""

Answer = Callable[[Corrupted, Callable[[], Conditioning], Tensor], Tensor]
"""The model's to noisy pictures, what it is told of them, and their sizes."""


class HeldOutCaptions:
    """What the model is told of the pictures that are held out: each time the same, and nothing dropped."""

    def __init__(
        self,
        family: Family,
        parts: Parts,
        settings: TrainingSettings,
        items: list[Item],
        reading: Reading,
        learns: bool,
        accelerator: Accelerator,
    ) -> None:
        """To be made by all processes, which share the work.  learns: a text encoder is trained."""
        self._family, self._parts, self._reading, self._learns = family, parts, reading, learns
        self.texts = [
            settled(caption, item.subset.captions, random.Random(_seed(item, "caption")))
            for item, caption in zip(items, captions_of(items), strict=True)
        ]
        self._as_they_are = [Captions()] * len(items)
        pictures = [item.picture for item in items]
        # What hinders keeping them is told of the captions that are learned from.
        self._kept = kept_captions(
            family,
            parts,
            settings,
            pictures,
            self.texts,
            self._as_they_are,
            reading,
            learns,
            lambda _: None,
            accelerator,
        )

    @property
    def needs_encoders(self) -> bool:
        return self._kept is None or self._kept.needs_encoders

    def conditioning(self, device: torch.device, progress: CaptionProgress) -> CaptionConditioning:
        """To be made while the text encoders are on the device.  Raises Stopped."""
        return CaptionConditioning(
            self._family,
            self._parts,
            self.texts,
            self._as_they_are,
            self._reading,
            1,
            self._learns,
            device,
            self._kept,
            progress,
        )


@dataclass
class ValidationLoss:
    """Measured by measure(); dropout and the like rest meanwhile.

    resting: within its block the weights are those to be used and saved.  stop: whether the user asks for it.
    """

    pictures: TrainingPictures
    settings: TrainingSettings
    conditioning: CaptionConditioning
    objective: TrainingObjective
    answer: Answer
    parts: Parts
    accelerator: Accelerator
    resting: Callable[[], AbstractContextManager[None]]
    stop: Callable[[], bool]

    def __post_init__(self) -> None:
        items, places = self.pictures.items, self.pictures.places
        batches = Batches(
            [1] * len(items),
            [item.subset.batch_size for item in items],
            accumulation=1,
            seed=self.settings.validation.validation_seed,
            buckets=[item.bucket(place) for item, place in zip(items, places, strict=True)],
        )
        most = self.settings.validation.max_validation_steps or batches.steps_per_epoch
        chosen = [batch for step in range(min(most, batches.steps_per_epoch)) for batch in batches.at(step)]
        self._mine = chosen[self.accelerator.process_index :: self.accelerator.num_processes]

    def measure(self, report: Report, step: int) -> bool:
        """Tell the loss after `step` steps.  All processes share the work; training goes on to the same bits.

        Returns True where the user asks to stop before all is measured: then nothing is told. Each process looks for
        itself, but if one of them ends early, all of them return True.
        """
        device = self.accelerator.device
        losses, lost = torch.zeros(3, device=device), dict[Path, str]()
        devices = [device] if device.type == "cuda" else []
        with (
            self.resting(),
            resting_modules([self.parts.denoiser, *self.parts.text_encoders]),
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
        others = "is that of the others: its curve has a break" if count else "is not measured, for none is left"
        report.missed(of_all, f"; from step {step} on the validation loss {others}")
        if count:
            report.validated(step, total / count, int(count))
        return False

    def _losses(self, batch: MicroBatch, lost: dict[Path, str]) -> Tensor:
        """(the pictures' losses added up, how many they are); a picture's is the mean over the timesteps.

        A picture that is gone since the start is left out and put among those lost, rather than to end a run that
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
        latents, beside = self.parts.split_channels(shown.latents.to(device, torch.float32))
        total = torch.zeros((), device=device)
        for at in TIMESTEPS:
            corrupted = _together(
                [self._corrupted(i, one[None], at) for i, one in zip(batch.pictures, latents, strict=True)]
            )
            prediction = self.answer(corrupted, lambda: self.conditioning.of(batch) | beside, shown.sizes)
            total += self.objective.loss(prediction, corrupted, shown.mask).sum()
        return torch.stack([total / len(TIMESTEPS), total.new_tensor(len(latents))])

    def _shown(self, index: int) -> Shown:
        """Each picture by itself, as where latents are not kept the VAE draws anew.  Raises UnreadablePicture."""
        seed = _seed(self.pictures.items[index], "shown")
        torch.manual_seed(seed)
        return self.pictures.latents.shown(self.pictures.latents.read_alone(index, seed))

    def _corrupted(self, index: int, latents: Tensor, at: float) -> Corrupted:
        """A picture's noise depends on its name, whatever stands in the batch beside it."""
        torch.manual_seed(_seed(self.pictures.items[index], at))
        return self.objective.corrupt(latents, at)


@contextmanager
def resting_modules(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within the block nothing is dropped out; afterwards each part is in the mode in which it was."""
    training = [part for module in modules for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _seed(item: Item, what: object) -> int:
    return derived_seed(item.subset.validation.validation_seed, "validation", short(item.picture), what)


def _together(several: Sequence[Corrupted]) -> Corrupted:
    noisy, target, timesteps = (
        torch.cat([getattr(one, name) for one in several]) for name in ("noisy", "target", "timesteps")
    )
    return Corrupted(noisy, target, timesteps)
