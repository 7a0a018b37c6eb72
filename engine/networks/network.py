"""The protocol of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from engine.networks.held import Held


class Network(Protocol):
    def parameters(self, group: str) -> list[nn.Parameter]:
        """The trainable parameters on a group ("unet" or "text_encoder"), in a fixed order."""

    def by_place(self, group: str) -> dict[str, list[nn.Parameter]]:
        """The same by attachment name."""

    def fast_parameters(self, group: str) -> list[nn.Parameter]:
        """Those that LoRA+ trains with a higher rate: the up matrices, which start as zeros."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that is trained, by names like those of kohya's files, for a state to resume from."""

    def file_weights(self) -> dict[str, Tensor]:
        """All weights as kohya's files have them."""

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Restore the result of state_dict(), exactly.  Raises KeyError or RuntimeError if it is another network's."""

    def see(self, timesteps: Tensor) -> None:
        """Called before each prediction, with the pictures' timesteps, (B,) in [0, 1000]."""

    def before_update(self) -> None:
        """Called when a step's gradients are there, before the weights move."""

    def begin_from(self, held: Mapping[str, Held]) -> None:
        """Begin as a trained file acts, by attachment name; the others start fresh.

        Raises RuntimeError if a module's rank or size differs.
        """

    def limit_norms(self, most: float) -> None:
        """Clip every module's change to a norm of `most`.

        Source: kohya's "max norm regularization", after Srebro & Shraibman 2005.
        """

    def metadata(self) -> dict[str, Any]:
        """What the file says about the network: the ss_network_* keys."""
