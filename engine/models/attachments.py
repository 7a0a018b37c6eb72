"""Which modules a LoRA attaches to, and their names in kohya's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from torch import nn

from engine.models.layouts.entry import Entry
from engine.models.targets import Attachment, Reach

ATTENTION = re.compile(r"(^|[._])(attn|attention)\d*\.")
"""In the names of originals: what belongs to attention."""


NORMS = (nn.GroupNorm, nn.LayerNorm)


def layers_within(module: nn.Module, classes: tuple[str, ...], norms: bool = False) -> Iterator[str]:
    """Paths of every Linear and convolution below a module of one of the classes, each once.

    norms: of every normalisation layer with a weight as well.
    """
    found: dict[str, None] = {}
    for path, outer in module.named_modules():
        if type(outer).__name__ in classes:
            for name, inner in outer.named_modules():
                if isinstance(inner, (nn.Linear, nn.Conv2d)) or (
                    norms and isinstance(inner, NORMS) and inner.weight is not None
                ):
                    found[f"{path}.{name}"] = None
    yield from found


def unet_paths(unet: nn.Module, reach: Reach) -> list[str]:
    """What of diffusers' UNet a network of this reach is put on."""
    transformers = ("Attention",) if reach.attention_only else ("Transformer2DModel",)
    classes = transformers * reach.transformers + ("ResnetBlock2D", "Downsample2D", "Upsample2D") * reach.resnets
    paths = [*layers_within(unet, classes, reach.norms), *reach.edges]
    return [path for path in paths if reach.takes(path)]


def each_alone(
    paths: Iterable[str], prefix: str, named: Callable[[str], str] = str, also: Callable[[str], str] | None = None
) -> tuple[Attachment, ...]:
    """One attachment per module: the prefix, then the path as named by `named`, with _ for every dot.

    also: its names in other programs, and in the original file, where that has others than `named` gives.
    """
    return tuple(
        Attachment(
            f"{prefix}_{named(path).replace('.', '_')}",
            (path,),
            also=(also(path),) if also else (),
            original=(also or named)(path),
        )
        for path in paths
    )


def clip_attachments(encoder: nn.Module, prefix: str, reach: Reach) -> tuple[Attachment, ...]:
    """sd-scripts' modules of a CLIP text encoder; older transformers keep the layers below a text_model."""
    wrapped = hasattr(encoder, "text_model")
    whole_prefix = prefix if wrapped else f"{prefix}_text_model"
    return encoder_attachments(encoder, whole_prefix, reach, ("CLIPAttention", "CLIPMLP"))


def encoder_attachments(
    encoder: nn.Module, prefix: str, reach: Reach, classes: tuple[str, ...]
) -> tuple[Attachment, ...]:
    """classes: of the encoder's attention, then of its feed forward layers."""
    if not reach.text_encoders:
        return ()
    paths = layers_within(encoder, classes[:1] if reach.attention_only else classes, reach.norms)
    return each_alone(filter(reach.takes, paths), prefix)


def by_layout(
    module: nn.Module, entries: Iterable[Entry], blocks: tuple[str, ...], reach: Reach, norms: tuple[str, ...] = ()
) -> tuple[Attachment, ...]:
    """An attachment for each matrix of the original file within its `blocks`, named as it is there.

    norms: classes of the normalisation layers that LyCORIS can train there.
    """
    within = {
        path
        for path, inner in module.named_modules()
        if isinstance(inner, nn.Linear) or (reach.norms and type(inner).__name__ in norms)
    }
    return tuple(
        Attachment(
            "lora_unet_" + entry.original.removesuffix(".weight").replace(".", "_"),
            tuple(name.removesuffix(".weight") for name in entry.names),
            swapped=entry.change == "swapped",
            original=entry.original.removesuffix(".weight"),
        )
        for entry in entries
        if reach.transformers
        and entry.original.startswith(blocks)
        and all(name.removesuffix(".weight") in within for name in entry.names)
        and (not reach.attention_only or ATTENTION.search(entry.original))
        and reach.takes(entry.original.removesuffix(".weight"))
    )
