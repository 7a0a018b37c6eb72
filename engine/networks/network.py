"""What training asks of a network, whichever it is."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Network(Protocol):
    def parameters(self, group: str) -> list[nn.Parameter]:
        """The trainable parameters on a group ("unet" or "text_encoder"), in a fixed order."""

    def state_dict(self) -> dict[str, Tensor]:
        """All weights under the names of kohya's files."""

    def load_state_dict(self, weights: dict[str, Tensor]) -> None:
        """Take over what state_dict() gave, exactly."""

    def metadata(self) -> dict[str, Any]:
        """What the file says about the network: the ss_network_* keys."""
