"""What a network attaches to, and what kohya's files call it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Attachment:
    """One place in kohya's files for a network's weights.

    name: as in the files.  paths: the module that it is on; several where the original model has one matrix for what
    stands apart here, stacked in this order.  swapped: the original has the two halves of its rows the other way round.
    also: what files of other programs call it beside name and path, without what begins such names.
    """

    name: str
    paths: tuple[str, ...]
    swapped: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One module that a network may attach to.

    group: "unet" or "text_encoder", whose learning rate it has.
    """

    module: nn.Module
    group: Literal["unet", "text_encoder"]
    attachments: tuple[Attachment, ...] = field(repr=False)
