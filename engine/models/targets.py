"""What a network attaches to, and its names in kohya's files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Attachment:
    """One entry in kohya's files for a network's weights.

    name: as in the files.  paths: the module it belongs to; several if the original model has one matrix for modules
    that are separate here, stacked in this order.  swapped: the two halves of its rows are swapped in the original.
    also: its names in other programs' files besides name and path, without their prefixes.
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
