"""LECO: a LoRA learns what the model itself makes of prompts, without a picture.

The model draws a part of a picture of the target prompt, with the LoRA. There its prediction with the LoRA is compared
with what it predicts without: for the neutral prompt, taken towards or away from the positive one.
Source: Gandikota et al. 2023, "Erasing Concepts from Diffusion Models", arXiv:2303.07345, equation 7, for erasing;
"Concept Sliders", arXiv:2311.12092, for both directions; sd-scripts' train_leco.py for the sets of prompts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
from engine.models.conditioning import Conditioning
from engine.models.family import Family
from engine.models.parts import Parts
from engine.objective.noise import offset_noise
from engine.objective.objective import Corrupted
from engine.settings.leco_prompts import PromptSet, prompt_sets
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from engine.training.method import Corrupt
from engine.training.model import Examples, Model
from engine.training.samplers import sampler_of

TARGET, POSITIVE, UNCONDITIONAL, NEUTRAL = range(4)
"""The places of the prompts in a set, and so in the conditioning of an example."""

MOST_TOLD = 16
"""Sets of prompts in a file's metadata, as sd-scripts tells them."""

LEAST_SIDE, STEP = 64, 64
"""Of drawn resolutions, pixels."""

LARGEST_SCALE = 3.0
"""Of the pictures that SDXL is told to see a part of, beside that part."""


def sets_of(settings: TrainingSettings) -> list[PromptSet]:
    """Raises Failure if they cannot be read, such as from a file that is gone since the check."""
    try:
        return prompt_sets(settings)
    except ValueError as error:
        raise Failure(str(error), "Correct the file, or clear the field.", "prompts_file") from None


class LecoMethod(LoraMethod):
    def __init__(
        self,
        family: Family,
        parts: Parts,
        settings: TrainingSettings,
        *,
        total_steps: int,
        dtype: torch.dtype,
        goes_on: Mapping[str, Tensor] | None = None,
    ) -> None:
        if parts.extra_channels is not None or parts.alphas_cumprod is None or parts.refines:
            raise Failure(
                "LECO draws from prompts alone, and this model needs pictures too.",
                "Choose an ordinary model.",
                "pretrained_model_name_or_path",
            )
        super().__init__(family, parts, settings, total_steps=total_steps, dtype=dtype, goes_on=goes_on)
        self._sets, self._file = sets_of(settings), settings.leco.prompts_file
        self._steps, self._guidance = settings.leco.max_denoising_steps, settings.leco.leco_denoise_guidance_scale
        self._offset = settings.applied("noise_offset")

    def losses(self, model: Model, examples: Examples, corrupt: Corrupt) -> Tensor:
        set_, told = self._sets[examples.numbers[0]], examples.conditioning()
        width, height = _drawn_size(set_)
        sizes = _sizes(set_, width, height)
        shape = (set_.batch_size, model.parts.channels, height // model.parts.stride, width // model.parts.stride)
        with torch.no_grad():
            self._strength.set(set_.multiplier)
            noisy, timesteps = self.begun(model, shape, told, sizes)
        return self.judged(model, set_, noisy, timesteps, told=told, sizes=sizes)

    def metadata(self) -> dict[str, Any]:
        return {
            **super().metadata(),
            "ss_leco_prompt_count": len(self._sets),
            "ss_leco_prompts_file": Path(self._file).name or None,
            "ss_leco_preview": json.dumps([_told(set_) for set_ in self._sets[:MOST_TOLD]], ensure_ascii=False),
        }

    def begun(self, model: Model, shape: tuple[int, ...], told: Conditioning, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, C, h, w) that are drawn up to a chance step, and the timesteps (B,) that they are at.

        That is the sampler's next timestep; sd-scripts takes one that is up to a step of the sampler later.
        """
        sampler = sampler_of(model.parts, "ddpm")
        sampler.set_timesteps(self._steps)
        steps = int(torch.randint(1, self._steps, ()))
        latents = offset_noise(torch.randn(shape), self._offset).to(model.device)
        pairs = _rows(told, (UNCONDITIONAL, TARGET), len(latents))
        for timestep in sampler.timesteps[:steps]:
            both = timestep.expand(2 * len(latents)).to(model.device)
            self.network.see(both)
            without, with_target = model.predict(
                torch.cat([latents, latents]), both, lambda: pairs, torch.cat([sizes, sizes])
            ).float().chunk(2)  # fmt: skip
            guided = without + self._guidance * (with_target - without)
            latents = sampler.step(guided, timestep, latents).prev_sample
        return latents, sampler.timesteps[steps].expand(len(latents)).to(model.device)

    def judged(
        self, model: Model, set_: PromptSet, noisy: Tensor, timesteps: Tensor, *, told: Conditioning, sizes: Tensor
    ) -> Tensor:
        """What the prediction for the target prompt costs there, (B,)."""

        def predicted(place: int) -> Tensor:
            self.network.see(timesteps)
            return model.predict(noisy, timesteps, lambda: _rows(told, (place,), len(noisy)), sizes).float()

        with torch.no_grad():
            self._strength.set(0)
            away = set_.direction * (predicted(POSITIVE) - predicted(UNCONDITIONAL))
            aim = predicted(NEUTRAL) + away
        self._strength.set(set_.multiplier)
        return model.objective.loss(predicted(TARGET), Corrupted(noisy, aim, timesteps)) * set_.weight


def _told(set_: PromptSet) -> dict[str, Any]:
    names = ("target", "positive", "unconditional", "neutral", "action", "multiplier", "weight")
    return {name: getattr(set_, name) for name in names}


def _rows(told: Conditioning, places: tuple[int, ...], count: int) -> Conditioning:
    """The conditioning of some of the prompts, each `count` times in a row."""
    return {name: torch.cat([tensor[place].expand(count, *tensor[place].shape) for place in places])
            for name, tensor in told.items()}  # fmt: skip


def _drawn_size(set_: PromptSet) -> tuple[int, int]:
    """(width, height) in pixels."""
    if not set_.dynamic_resolution:
        return set_.resolution
    width, height = (_drawn_side(side) for side in set_.resolution)
    return width, height


def _drawn_side(whole: int) -> int:
    """A multiple of 64 from the half of it to the whole."""
    least, most = max(LEAST_SIDE, whole // 2) // STEP, max(LEAST_SIDE, whole) // STEP
    return STEP * int(torch.randint(least, most + 1, ()))


def _sizes(set_: PromptSet, width: int, height: int) -> Tensor:
    """(B, 6), see Placed.told(): a whole picture, or a part of a larger one."""
    scale = 1 + (LARGEST_SCALE - 1) * float(torch.rand(())) if set_.dynamic_crops else 1.0
    whole = int(height * scale), int(width * scale)
    top, left = (int(torch.randint(0, more + 1, ())) for more in (whole[0] - height, whole[1] - width))
    return torch.tensor([[*whole, top, left, height, width]]).expand(set_.batch_size, -1)
