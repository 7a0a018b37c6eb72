"""Which modules a LoRA attaches to, and their names in kohya's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from torch import nn

from engine.models.layouts.entry import Entry
from engine.models.targets import Attachment, Listed, Reach, fits, is_norm
from engine.settings.layer_patterns import Pattern

ATTENTION = re.compile(r"(^|[._])(attn|attention)\d*\.")
"""In the names of originals: what belongs to attention."""


def layers_within(module: nn.Module, classes: tuple[str, ...], norms: bool = False) -> Iterator[str]:
    """Paths of every Linear and convolution below a module of one of the classes, each once.

    norms: of every normalisation layer with a weight as well.
    """
    found: dict[str, None] = {}
    for path, outer in module.named_modules():
        if type(outer).__name__ in classes:
            for name, inner in outer.named_modules():
                if _is_layer(inner, norms):
                    found[f"{path}.{name}"] = None
    yield from found


def _is_layer(module: nn.Module, norms: bool) -> bool:
    return isinstance(module, (nn.Linear, nn.Conv2d)) or (norms and is_norm(module))


def unet_paths(unet: nn.Module, reach: Reach, named: Callable[[str], str] = str) -> list[str]:
    """What of diffusers' UNet a network of this reach is put on.  named: gives sd-scripts' names of its modules."""
    if reach.listed:
        return _listed(unet, reach.listed.modules, reach.listed.names, reach, named, _OF_UNETS)
    transformers = ("Attention",) if reach.attention_only else ("Transformer2DModel",)
    classes = transformers * reach.transformers + ("ResnetBlock2D", "Downsample2D", "Upsample2D") * reach.resnets
    paths = [*layers_within(unet, classes, reach.norms), *reach.edges]
    return [path for path in paths if reach.takes(path)]


def _listed(
    module: nn.Module,
    classes: tuple[str, ...] | None,
    names: tuple[Pattern, ...],
    reach: Reach,
    named: Callable[[str], str],
    usual: tuple[str, ...],
) -> list[str]:
    """Of these classes, and those with these names; usual: the classes if there is no list of them."""
    assert reach.listed
    ours = tuple(_CLASSES.get(name, name) for name in (usual if classes is None else classes))
    within = dict.fromkeys(layers_within(module, ours, reach.norms))
    alone = [path for path, inner in module.named_modules() if _is_layer(inner, reach.norms)]
    within |= dict.fromkeys(path for path in alone if fits(names, named(path)))
    return [path for path in within if not _is_left_out(path, reach.listed, named)]


def _is_left_out(path: str, listed: Listed, named: Callable[[str], str]) -> bool:
    """A module is left out with all that lies in it."""
    parts = named(path).split(".")
    return any(listed.leaves_out(".".join(parts[:depth])) for depth in range(1, len(parts) + 1))


_OF_UNETS = ("Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D")
_CLASSES = {
    "CrossAttention": "Attention",
    "CLIPSdpaAttention": "CLIPAttention",
    "Gemma2SdpaAttention": "Gemma2Attention",
}
"""What classes of sd-scripts' models are called here."""

_OF_BLOCKS = {
    "double_blocks": "DoubleStreamBlock", "single_blocks": "SingleStreamBlock", "joint_blocks": "SingleDiTBlock",
    "layers": "JointTransformerBlock", "noise_refiner": "JointTransformerBlock",
    "context_refiner": "JointTransformerBlock", "final_layer": "FinalLayer",
}  # fmt: skip
"""The classes of transformers' blocks in sd-scripts, by what the names of their layers begin with."""


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
    if reach.listed:
        named = "text_model.{}".format if prefix.endswith("_text_model") else str
        listed = _listed(encoder, reach.listed.text_modules, reach.listed.text_names, reach, named, classes)
        return each_alone(listed, prefix)
    if not reach.text_encoders:
        return ()
    paths = layers_within(encoder, classes[:1] if reach.attention_only else classes, reach.norms)
    return each_alone(filter(reach.takes, paths), prefix)


def by_layout(
    module: nn.Module, entries: Iterable[Entry], blocks: tuple[str, ...], reach: Reach, *, norms: bool = False
) -> tuple[Attachment, ...]:
    """An attachment for each matrix of the original file within its `blocks`, named as it is there.

    norms: whether LyCORIS can train normalisation layers there.
    """
    within = {
        path
        for path, inner in module.named_modules()
        if isinstance(inner, nn.Linear) or (norms and reach.norms and is_norm(inner))
    }
    return tuple(
        Attachment(
            "lora_unet_" + entry.original.removesuffix(".weight").replace(".", "_"),
            tuple(name.removesuffix(".weight") for name in entry.names),
            swapped=entry.change == "swapped",
            original=entry.original.removesuffix(".weight"),
        )
        for entry in entries
        if all(name.removesuffix(".weight") in within for name in entry.names)
        and _reaches(reach, entry.original.removesuffix(".weight"), blocks)
    )


def _reaches(reach: Reach, path: str, blocks: tuple[str, ...]) -> bool:
    """path: of a layer of a transformer, in the original file.  blocks: what the usual ones begin with."""
    of_blocks = f"{path}.".startswith(blocks)
    if listed := reach.listed:
        if of_blocks and listed.modules is not None:
            of_blocks = _OF_BLOCKS.get(path.partition(".")[0]) in listed.modules
        return (of_blocks or fits(listed.names, path)) and not _is_left_out(path, listed, str)
    return bool(
        reach.transformers and of_blocks and (not reach.attention_only or ATTENTION.search(path)) and reach.takes(path)
    )
