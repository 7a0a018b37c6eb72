"""Draws the sample pictures of a run and files them under kohya's names."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import nn

from engine.check.numbers import step_of
from engine.data.output_names import SAMPLES
from engine.disk import written_whole
from engine.models.conditioning import Conditioning
from engine.models.drawing import Drawing
from engine.models.extra_channels import InitImage
from engine.models.init_image import init_image_of
from engine.models.vae import to_pixels
from engine.runs.events import Sample
from engine.runs.folder import RunFolder
from engine.settings.samples import SamplePrompt
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.report import Report
from engine.training.samplers import sampler_of

PREVIEW_SIZE = 512
"""Largest side of the copy that the page shows, in pixels."""


class Autocast(Protocol):
    def __call__(self) -> AbstractContextManager[Any]: ...


class Sampler:
    """Draws every prompt on request, without affecting the training.

    Create it while the text encoders are on their device: if none of them is trained, the prompts are encoded now, and
    the encoders are not needed again.
    """

    def __init__(
        self, encoder: CaptionEncoder, settings: TrainingSettings, run: RunFolder, *, seed: int, autocast: Autocast
    ) -> None:
        self._encoder, self._settings, self._run = encoder.of_prompts(), settings, run
        self._family, self._parts = encoder.family, encoder.parts
        self._seed, self._autocast = seed, autocast
        self._prompts = settings.samples.prompts()
        self._init_images = [self._init_image_of(prompt) for prompt in self._prompts]
        self._conditioning = None if encoder.learns else self._encode()

    def __bool__(self) -> bool:
        return bool(self._prompts)

    def draw(self, report: Report, step: int, epoch: int | None = None, but: Collection[int] = ()) -> None:
        """Draw and save all prompts after `step` steps; `epoch` (from 1) if an epoch has ended.

        but: numbers of prompts (from 0) that were drawn before.  A request to stop ends it between two pictures.
        """
        conditioning = self._conditioning or self._encode()
        with ExitStack() as stack, torch.no_grad():
            stack.enter_context(_at_rest(self._parts.denoiser))
            for module in self._parts.of_pictures():
                stack.enter_context(_at_rest(module, self._parts.device))
            for index, prompt in enumerate(self._prompts):
                if index in but:
                    continue
                if self._run.stop_requested():
                    break
                report.stage("sampling", index, len(self._prompts), prompt.text[:80])
                report.event(self._keep(index, self._draw_one(index, conditioning[index]), step, epoch))
        report.pause()

    @torch.no_grad()
    def _encode(self) -> list[Conditioning]:
        """Conditioning of each prompt, with its negative prompt, on the CPU."""
        with ExitStack() as stack:
            for encoder in self._parts.text_encoders:
                stack.enter_context(_at_rest(encoder))
            stack.enter_context(self._autocast())
            encoded = [self._encoder.encode([prompt.text, prompt.negative]) for prompt in self._prompts]
        return [{name: tensor.cpu() for name, tensor in one.items()} for one in encoded]

    def _init_image_of(self, prompt: SamplePrompt) -> InitImage:
        """Read at the start, so that a file that disappears later does no harm.  Raises Failure."""
        begins_from_pictures = self._parts.extra_channels is not None or self._parts.refines
        return init_image_of(prompt, *self._size(prompt)) if begins_from_pictures else InitImage()

    def _size(self, prompt: SamplePrompt) -> tuple[int, int]:
        """(width, height) in pixels; by default the training size, rounded down to what latents allow."""
        step = step_of(self._settings)
        width, height = (side - side % step for side in self._settings.dataset.size())
        return prompt.width or width, prompt.height or height

    def _draw_one(self, index: int, conditioning: Conditioning) -> Image.Image:
        prompt, parts = self._prompts[index], self._parts
        scheduler = sampler_of(parts, prompt.sampler or self._settings.samples.sample_sampler)
        sample = Drawing(prompt, *self._size(prompt), self._seed_of(prompt), self._init_images[index])
        conditioning = conditioning | sample.extra_channels(parts)
        here = {name: tensor.to(parts.device) for name, tensor in conditioning.items()}
        with self._autocast():
            latents = self._family.draw(parts, sample, here, scheduler)
        picture: Image.Image = VaeImageProcessor().postprocess(to_pixels(parts.vae, latents).float())[0]
        return picture

    def _seed_of(self, prompt: SamplePrompt) -> int:
        return self._seed if prompt.seed is None else prompt.seed

    def _keep(self, index: int, picture: Image.Image, step: int, epoch: int | None) -> Sample:
        """Write the picture and a small copy for the page."""
        prompt = self._prompts[index]
        seed = self._seed_of(prompt)
        place = f"e{epoch:06d}" if epoch is not None else f"{step:06d}"
        # The run's own time: a sample drawn again after a resume replaces the earlier one.
        name = f"{self._settings.folders.output_name}_{place}_{index:02d}_{self._run.created:%Y%m%d%H%M%S}_{seed}"
        file = Path(self._settings.folders.output_dir) / SAMPLES / f"{name}.png"
        with written_whole(file) as new:
            picture.save(new, "PNG")
        preview = self._run.previews_folder / f"{step:06d}_{index:02d}.webp"
        picture.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
        with written_whole(preview, waits=False) as new:
            picture.save(new, "WEBP", quality=85)
        return Sample(
            file=str(file), preview=preview.name, prompt=prompt.text, prompt_index=index, seed=seed, step=step
        )


@contextmanager
def _at_rest(module: nn.Module, device: torch.device | None = None) -> Iterator[None]:
    """In eval mode, and on another device if one is given; restored afterwards."""
    was_training, before = module.training, next(module.parameters()).device
    module.eval()
    if device is not None:
        module.to(device)
    try:
        yield
    finally:
        module.train(was_training)
        if device is not None:
            module.to(before)
