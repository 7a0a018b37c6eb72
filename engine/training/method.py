"""What the training loop asks of a method: what is trained, what a step costs, and what is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from engine.objective.objective import Corrupted
from engine.training.model import Examples, Model

Corrupt = Callable[[Tensor], Corrupted]
"""Puts noise on clean latents (B, C, h, w): in training as the objective draws it, in validation always the same."""


class Method(Protocol):
    adapter: str
    """What modelspec calls the kind of file, such as lora; nothing for a whole model."""

    @property
    def trains_text_encoder(self) -> bool:
        """Captions are then encoded at every step."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups, each with its name and learning rate."""

    def before_step(self, step: int) -> None:
        """Called before every step, which counts from 1, also by a run that goes on at a later one."""

    def losses(self, model: Model, examples: Examples, corrupt: Corrupt) -> Tensor:
        """What each of the examples costs, (B,), float32, with gradients for what is trained.

        Denoising has the usual one.  Random numbers come from torch's generator alone, which the step has seeded; in
        validation only what `corrupt` draws is the same for a picture whatever stands in the batch beside it.
        """

    def after_step(self) -> None:
        """Called after every step of the optimizer."""

    def metadata(self) -> dict[str, Any]:
        """What a file says of how it was trained, beyond what every file says: ss_* entries."""

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        """Write the result, in the number format and with the ending that the settings say."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that is trained, for a state to go on from."""

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Take over what state_dict() gave, exactly.  Raises KeyError or RuntimeError where it is of another model."""


def names(method: Method) -> list[str]:
    """Of its groups, in order."""
    return [group["name"] for group in method.parameter_groups()]


def parameters(method: Method) -> list[nn.Parameter]:
    return [parameter for group in method.parameter_groups() for parameter in group["params"]]
