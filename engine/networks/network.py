"""What training asks of a network, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from engine.networks.begun_from import Matrices


class Network(Protocol):
    def parameters(self, group: str) -> list[nn.Parameter]:
        """The trainable parameters on a group ("unet" or "text_encoder"), in a fixed order."""

    def fast_parameters(self, group: str) -> list[nn.Parameter]:
        """Those of them that LoRA+ lets learn faster: the up matrices, which begin as zeros."""

    def state_dict(self) -> dict[str, Tensor]:
        """All weights under the names of kohya's files."""

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Take over what state_dict() gave, exactly.  Raises KeyError or RuntimeError where it is another network's."""

    def begin_from(self, matrices: Mapping[str, Matrices]) -> None:
        """Take over a trained file's matrices, by the attachments' names; the others begin anew.

        Raises RuntimeError where a module's rank or size is another.
        """

    def limit_norms(self, most: float) -> None:
        """Shorten every module's change to a norm of `most`.

        Source: kohya's "max norm regularization", after Srebro & Shraibman 2005.
        """

    def metadata(self) -> dict[str, Any]:
        """What the file says about the network: the ss_network_* keys."""
