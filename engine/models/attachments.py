"""Which modules a LoRA attaches to, and their names in kohya's files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import nn

from engine.models.layouts.entry import Entry
from engine.models.targets import Attachment


def linears_within(module: nn.Module, classes: tuple[str, ...]) -> Iterator[str]:
    """Paths of every Linear and 1×1 convolution below a module of one of the classes."""
    for path, outer in module.named_modules():
        if type(outer).__name__ in classes:
            for name, inner in outer.named_modules():
                pointwise = isinstance(inner, nn.Conv2d) and inner.kernel_size == (1, 1)
                if isinstance(inner, nn.Linear) or pointwise:
                    yield f"{path}.{name}"


def each_alone(
    paths: Iterable[str], prefix: str, named: Callable[[str], str] = str, also: Callable[[str], str] | None = None
) -> tuple[Attachment, ...]:
    """One attachment per module: the prefix, then the path as named by `named`, with _ for every dot.

    also: its names in other programs.
    """
    return tuple(
        Attachment(f"{prefix}_{named(path).replace('.', '_')}", (path,), also=(also(path),) if also else ())
        for path in paths
    )


def clip_attachments(encoder: nn.Module, prefix: str) -> tuple[Attachment, ...]:
    """sd-scripts' modules of a CLIP text encoder; older transformers keep the layers below a text_model."""
    wrapped = hasattr(encoder, "text_model")
    whole_prefix = prefix if wrapped else f"{prefix}_text_model"
    return each_alone(linears_within(encoder, ("CLIPAttention", "CLIPMLP")), whole_prefix)


def by_layout(module: nn.Module, entries: Iterable[Entry], blocks: tuple[str, ...]) -> tuple[Attachment, ...]:
    """An attachment for each matrix of the original file within its `blocks`, named as it is there."""
    linears = {path for path, inner in module.named_modules() if isinstance(inner, nn.Linear)}
    return tuple(
        Attachment(
            "lora_unet_" + entry.original.removesuffix(".weight").replace(".", "_"),
            tuple(name.removesuffix(".weight") for name in entry.names),
            swapped=entry.change == "swapped",
        )
        for entry in entries
        if entry.original.startswith(blocks) and all(name.removesuffix(".weight") in linears for name in entry.names)
    )
