"""What a batch costs, against a loss worked out by hand from what the model was shown and what it said."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.data.batches import MicroBatch
from engine.data.dataset import Shown
from engine.demo.demo import MODEL_FOLDER
from engine.models.conditioning import Conditioning, Reading
from engine.models.extra_channels import EXTRA_CHANNELS
from engine.models.parts import Parts
from engine.objective.objective import Corrupted
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.conditioning import CaptionConditioning
from engine.training.denoising import Denoising
from engine.training.model import Examples, Model
from engine.training.read_ahead import Read
from engine.training.step import TrainingStep
from tests.models.loading import loaded
from tests.models.small import SETTINGS, pipeline

CAPTIONS = ["a red circle", "a star"]
SIZES = torch.tensor([[64, 64, 0, 0, 64, 64]] * 2)
CPU = torch.device("cpu")


class Recorded:
    """A family that keeps what it was asked and what it answered."""

    def __init__(self, family: Any) -> None:
        self._family = family

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)

    def predict(self, parts: Parts, noisy: Tensor, timesteps: Tensor, *others: Any, **more: Any) -> Tensor:
        self.noisy, self.timesteps = noisy, timesteps
        self.conditioning = others[0]
        self.prediction = self._family.predict(parts, noisy, timesteps, *others, **more)
        return self.prediction


def by_hand(family: Recorded, parts: Parts, clean: Tensor) -> Tensor:
    """(B,), from the definitions: x_t = √ᾱ x + √(1 - ᾱ) ε, or (1 - σ) x + σ ε, is solved for the noise ε."""
    if parts.alphas_cumprod is not None:
        alpha = parts.alphas_cumprod[family.timesteps.long()].view(-1, 1, 1, 1)
        noise = (family.noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        target, said = (noise if parts.prediction == "epsilon" else velocity), family.prediction
    else:
        sigma = (family.timesteps / 1000).view(-1, 1, 1, 1)
        noise = (family.noisy - (1 - sigma) * clean) / sigma
        target, said = noise - clean, family.prediction
        if family.name.startswith("Stable Diffusion 3"):  # which compares pictures, x = x_t - σ v
            target, said = clean, family.noisy - sigma * said
    return (said - target).square().mean(dim=(1, 2, 3))


def step_of(family: Recorded, parts: Parts, settings: TrainingSettings, shown: Shown, weights: Tensor) -> TrainingStep:
    model = Model(
        family=family, parts=parts, objective=family.objective(settings, parts), dtype=torch.float32, device=CPU,
        autocast=nullcontext, offload=nullcontext,
    )  # fmt: skip
    encoder = CaptionEncoder(family, parts, Reading.of(settings))
    conditioning = CaptionConditioning(encoder, CAPTIONS, [settings.captions] * 2, steps=9, device=CPU)
    latents: Any = SimpleNamespace(shown=lambda read: shown)
    return TrainingStep(Denoising(), model, latents=latents, conditioning=conditioning, weights=weights)


@pytest.mark.parametrize("name", ["sd1", *SETTINGS])
def test_a_batch_costs_what_is_worked_out_by_hand(name: str, tmp_path: Path):
    folder = MODEL_FOLDER if name == "sd1" else tmp_path / "model"
    if name != "sd1":
        pipeline(name).save_pretrained(folder)
    changes = SETTINGS.get(name, {}) | {"min_timestep": 100, "max_timestep": 900}
    settings = TrainingSettings().with_values(changes)
    made, parts = loaded(folder, **changes)
    family = Recorded(made)
    torch.manual_seed(3)
    channels = parts.channels + (parts.extra_channels.channels if parts.extra_channels else 0)
    encoded = torch.randn(2, channels, 8, 8)
    clean, extra = encoded[:, : parts.channels], encoded[:, parts.channels :]
    step = step_of(family, parts, settings, Shown((0, 1), encoded, SIZES), weights=torch.tensor([1.0, 0.5]))
    read: Any = Read(pictures=None, conditioning=None)
    with torch.no_grad():
        cost = step.loss_of(MicroBatch((0, 1), weight=0.25, seed=7, epoch=1, step=0), read)
        one, other = by_hand(family, parts, clean)
        torch.testing.assert_close(cost, 0.25 * (one + 0.5 * other) / 2, rtol=1e-4, atol=1e-6)
        directly = made.encode_text(parts, CAPTIONS, Reading.of(settings))
    for key, tensor in directly.items():
        torch.testing.assert_close(family.conditioning[key], tensor, rtol=1e-4, atol=1e-5)
    if parts.extra_channels:
        assert torch.equal(family.conditioning[EXTRA_CHANNELS], extra)
    assert ((family.timesteps >= 100) & (family.timesteps <= 900)).all()


def test_what_a_step_draws_hangs_on_the_batchs_seed_alone():
    settings = TrainingSettings()
    made, parts = loaded()
    family, shown = Recorded(made), Shown((0, 1), torch.zeros(2, 4, 8, 8), SIZES)
    step = step_of(family, parts, settings, shown, weights=torch.ones(2))
    read: Any = Read(pictures=None, conditioning=None)
    costs = []
    for seed, before in ((7, 1), (7, 2), (8, 1)):
        torch.manual_seed(before)
        with torch.no_grad():
            costs.append(float(step.loss_of(MicroBatch((0, 1), 1.0, seed, 1, 0), read)))
    assert costs[0] == costs[1] != costs[2]


def test_a_method_may_ask_the_model_otherwise():
    """Two predictions guided as classifier-free guidance does it: n + 2 · (p - n); each is asked under autocast."""

    class Guided(Denoising):
        def predict(self, model: Model, examples: Examples, corrupted: Corrupted) -> Tensor:
            def nothing() -> Conditioning:
                return {name: torch.zeros_like(tensor) for name, tensor in examples.conditioning().items()}

            positive = super().predict(model, examples, corrupted)
            negative = model.predict(corrupted.noisy, corrupted.timesteps, nothing, examples.sizes)
            return negative + 2 * (positive - negative)

    settings = TrainingSettings()
    made, parts = loaded()
    entered: list[str] = []

    class Entered:
        def __enter__(self) -> None:
            entered.append("autocast")

        def __exit__(self, *_: Any) -> None: ...

    model = Model(
        family=made, parts=parts, objective=made.objective(settings, parts), dtype=torch.float32, device=CPU,
        autocast=Entered, offload=nullcontext,
    )  # fmt: skip
    with torch.no_grad():
        told = made.encode_text(parts, CAPTIONS, Reading())
        examples = Examples(latents=torch.ones(2, 4, 8, 8), sizes=SIZES, mask=None, conditioning=lambda: told)
        fixed = Corrupted(torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([100, 700]))
        losses = Guided().losses(model, examples, lambda latents: fixed)
        positive = made.predict(parts, fixed.noisy, fixed.timesteps, told, SIZES)
        nothing = {name: torch.zeros_like(tensor) for name, tensor in told.items()}
        negative = made.predict(parts, fixed.noisy, fixed.timesteps, nothing, SIZES)
    expected = (2 * positive - negative - fixed.target).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(losses, expected)
    assert entered == ["autocast"] * 2
