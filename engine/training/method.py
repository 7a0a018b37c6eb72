"""The protocol of a method: what is trained, what a step costs, and what is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from engine.objective.objective import Corrupted
from engine.training.model import Examples, Model

Corrupt = Callable[[Tensor], Corrupted]
"""Adds noise to clean latents (B, C, h, w): in training as the objective draws it, in validation always the same."""


class Method(Protocol):
    adapter: str
    """modelspec's name for the kind of file, such as lora; empty for a whole model."""

    @property
    def trains_text_encoder(self) -> bool:
        """Whether one is trained: captions are then encoded at every step."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups, each with its name and learning rate."""

    def before_step(self, step: int) -> None:
        """Called before every step, counted from 1; a resumed run starts at a later one."""

    def losses(self, model: Model, examples: Examples, corrupt: Corrupt) -> Tensor:
        """What each of the examples costs, (B,), float32, with gradients for what is trained.

        Denoising has the usual one.  Random numbers come from torch's generator alone, which the step has seeded; in
        validation only what `corrupt` draws is the same for a picture whatever stands in the batch beside it.
        """

    def before_update(self) -> None:
        """Called when all gradients of a step are there, clipped; never if each weight is updated at once."""

    def after_step(self) -> None:
        """Called after every step of the optimizer."""

    def metadata(self) -> dict[str, Any]:
        """ss_* entries about how the file was trained, in addition to those of every file."""

    def save(self, file: Path, metadata: dict[str, str]) -> None:
        """Write the result, in the number format and with the extension given by the settings."""

    def state_dict(self) -> dict[str, Tensor]:
        """Everything trained, for a state to resume from."""

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Restore the result of state_dict(), exactly.  Raises KeyError or RuntimeError if it is from another model."""


def names(method: Method) -> list[str]:
    """Of its groups, in order."""
    return [group["name"] for group in method.parameter_groups()]


def parameters(method: Method) -> list[nn.Parameter]:
    return [parameter for group in method.parameter_groups() for parameter in group["params"]]
