"""What a network attaches to, and its names in kohya's files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from engine.failure import Failure
from engine.settings.layer_patterns import Pattern


@dataclass(frozen=True)
class Attachment:
    """One entry in kohya's files for a network's weights.

    name: as in the files.  paths: the module it belongs to; several if the original model has one matrix for modules
    that are separate here, stacked in this order.  swapped: the two halves of its rows are swapped in the original.
    also: its names in other programs' files besides name and path, without their prefixes, or with a text encoder's if
    that is another.  original: its path in the
    model's original file, within its part.
    """

    name: str
    paths: tuple[str, ...]
    swapped: bool = False
    also: tuple[str, ...] = ()
    original: str = ""


@dataclass(frozen=True)
class Listed:
    """What a LyCORIS preset file names, by the classes and paths that sd-scripts' models have.

    modules, text_modules: classes; None for all that are usual.  names, text_names: patterns for paths of single
    layers, from their beginning.  excluded: for those that are left out in any case.
    """

    modules: tuple[str, ...] | None = None
    names: tuple[Pattern, ...] = ()
    text_modules: tuple[str, ...] | None = None
    text_names: tuple[Pattern, ...] = ()
    excluded: tuple[Pattern, ...] = ()

    def leaves_out(self, path: str) -> bool:
        return fits(self.excluded, path)


def fits(patterns: tuple[Pattern, ...], path: str) -> bool:
    """Raises Failure where looking takes too long."""
    try:
        return any(pattern.begins(path) for pattern in patterns)
    except ValueError as error:
        raise Failure(str(error), option="lycoris_preset") from error


@dataclass(frozen=True)
class Reach:
    """Which of a model's layers a network is put on.

    The standard one: the linear layers and 1×1 convolutions of transformer blocks, and the text encoders' layers.
    transformers: the former; of transformers that are no UNet, all of its blocks.  attention_only: of both, no feed
    forward layers.  resnets: a UNet's other blocks, with those that change the size.  edges: which of its first and
    last layers and of its time embedding.  text_encoders: theirs.  norms: the normalisation layers of all these too.
    ends: what paths end with, if not all.  listed: classes and names, in place of all that but the norms.
    """

    transformers: bool = True
    attention_only: bool = False
    resnets: bool = False
    edges: tuple[str, ...] = ()
    text_encoders: bool = True
    norms: bool = False
    ends: tuple[str, ...] = ()
    listed: Listed | None = None

    def takes(self, path: str) -> bool:
        return not self.ends or path.endswith(self.ends)


STANDARD = Reach()


@dataclass(frozen=True)
class Target:
    """One module that a network may attach to.

    group: "unet" or "text_encoder", whose learning rate it has.
    """

    module: nn.Module
    group: Literal["unet", "text_encoder"]
    attachments: tuple[Attachment, ...] = field(repr=False)


def is_norm(layer: nn.Module) -> bool:
    """Whether it is a normalisation layer with a weight for each channel, which files of networks can change."""
    return type(layer).__name__ in ("GroupNorm", "LayerNorm", "RMSNorm") and layer.weight is not None


def shape_of(target: Target, attachment: Attachment) -> tuple[int, ...]:
    """Of its weight in the file: (out, in), or (out, in, h, w) of a convolution."""
    weights: list[Any] = [target.module.get_submodule(path).weight for path in attachment.paths]
    return (sum(len(weight) for weight in weights), *weights[0].shape[1:])
