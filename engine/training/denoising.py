"""What a step does in most methods: it adds noise to the pictures and compares the model's prediction."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from engine.objective.objective import Corrupted
from engine.training.method import Corrupt
from engine.training.model import Examples, Model


class Denoising:
    """A base class for methods.  Override predict() to call the model differently, losses() to judge it differently."""

    def before_step(self, step: int) -> None: ...

    def before_update(self) -> None: ...

    def after_step(self) -> None: ...

    def metadata(self) -> dict[str, Any]:
        return {}

    def losses(self, model: Model, examples: Examples, corrupt: Corrupt) -> Tensor:
        corrupted = corrupt(examples.latents)
        return model.objective.loss(self.predict(model, examples, corrupted), corrupted, examples.mask)

    def predict(self, model: Model, examples: Examples, corrupted: Corrupted) -> Tensor:
        """The prediction that is judged, (B, C, h, w)."""
        return model.predict(corrupted.noisy, corrupted.timesteps, examples.conditioning, examples.sizes)
