"""What the training loop asks of a method: what is trained, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


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
