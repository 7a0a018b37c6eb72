"""What the tensors of one layer are in a network file: by how kohya's files end their names, and by their shapes.

One table for all kinds that can be read. Needs no torch: the checks use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt, prod
from typing import NamedTuple

from engine.settings.network import ACTING, OTHER_NAMES, LoraType

Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors, by name; within a layer, by how the names end."""

LORA, LOCON, LOHA, LOKR, IA3, OFT, BOFT, GLORA, NATIVE, NORM, FLUX_OFT = (
    "LoRA", "LoCon", "LoHa", "LoKr", "(IA)³", "Diag-OFT", "BOFT", "GLoRA", "native fine-tuning", "trained norm",
    "FLUX.1 OFT",
)  # fmt: skip

_OF_TYPES: Mapping[LoraType, tuple[str, ...]] = {
    "Kohya LoHa": (LOHA,),
    "LyCORIS/LoHa": (LOHA,),
    "Kohya LoKr": (LOKR,),
    "LyCORIS/LoKr": (LOKR,),
    "LyCORIS/iA3": (IA3,),
    "LyCORIS/Diag-OFT": (OFT,),
    "LyCORIS/BOFT": (BOFT,),
    "LyCORIS/GLoRA": (GLORA,),
    "LyCORIS/Native Fine-Tuning": (NATIVE,),
    "Flux1 OFT": (FLUX_OFT,),
    "Kohya LoCon": (LORA, LOCON),
    "Kohya DyLoRA": (LORA, LOCON),
    "LyCORIS/LoCon": (LORA, LOCON),
    "LyCORIS/DyLoRA": (LORA, LOCON),
}
"""What the files of a LoRA type consist of; of those that are not named, of plain LoRA."""

_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    LORA: (("lora_down.weight", "lora_up.weight"),),
    LOHA: (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),
    LOKR: tuple(
        (*first, *second)
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    IA3: (("weight", "on_input"),),
    OFT: (("oft_blocks",),),
    GLORA: (("a1.weight", "a2.weight", "b1.weight", "b2.weight"),),
    NATIVE: (("diff",),),
    NORM: (("w_norm",), ("b_norm",)),
    FLUX_OFT: (("oft_blocks.0",),),
}
"""The tensors that a layer cannot do without, one of the sets."""

_BEGINS = {
    "lora_": LORA, "hada_": LOHA, "lokr_": LOKR, "on_input": IA3, "oft_blocks.": FLUX_OFT, "oft_blocks": OFT,
    "rescale": OFT, "a1.": GLORA, "a2.": GLORA, "b1.": GLORA, "b2.": GLORA, "diff": NATIVE, "w_norm": NORM,
    "b_norm": NORM,
}  # fmt: skip


TURNING = (OFT, BOFT, FLUX_OFT)
"""Whose alpha is no strength but the limit of their rotations."""


JOINED = (LORA, LOCON, LOHA, NATIVE)
"""Kinds of which several modules, stacked, are one with the same effect."""


class Sizes(NamedTuple):
    """Of the weight that a layer's tensors change: rows, and numbers in each; 0 where they do not say."""

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"{self.rows or 'any'} × {self.columns or 'any'}"


def kind_of_layer(shapes: Shapes) -> str:
    """ "" where nothing says so."""
    kind = next(filter(None, map(_kind_of, shapes)), "")
    if kind == LORA and ("lora_mid.weight" in shapes or _is_wide(shapes)):
        return LOCON
    return BOFT if kind == OFT and len(shapes.get("oft_blocks", ())) == 4 else kind


def is_of_several(shapes: Shapes) -> bool:
    """Whether tensors of several kinds would change one layer."""
    return len({*map(_kind_of, shapes)} - {""}) > 1


def is_complete(shapes: Shapes) -> bool:
    """Whether all is there that its kind needs, with at least one side each."""
    needed = _NEEDED.get({LOCON: LORA, BOFT: OFT}.get(kind := kind_of_layer(shapes), kind), ())
    return any(all(_has_sides(shapes, end) for end in ends) for ends in needed)


def _has_sides(shapes: Shapes, end: str) -> bool:
    return end in shapes and (end == "on_input" or (shapes[end] != () and 0 not in shapes[end]))


def rank_of_layer(shapes: Shapes) -> int:
    """0 of kinds that have none, and of a LoKr of whole matrices."""
    for end in ("lora_down.weight", "hada_w1_b", "lokr_w2_b", "lokr_w1_b", "a2.weight"):
        if end in shapes:
            return _side(shapes, end, 0)
    if "oft_blocks.0" in shapes:  # sd-scripts counts the blocks, LyCORIS their rows
        return _side(shapes, "oft_blocks.0", 0)
    blocks = shapes.get("oft_blocks", ())
    return blocks[-1] if blocks else 0


def has_core(shapes: Shapes) -> bool:
    """Whether a wide convolution is decomposed after Tucker."""
    return any(end in shapes for end in ("lora_mid.weight", "hada_t1", "lokr_t2"))


def looks_wide(shape: tuple[int, ...]) -> bool:
    """Whether a weight of this shape is a convolution's that looks at more than one pixel."""
    return any(side > 1 for side in shape[2:])


def is_wide(shapes: Shapes) -> bool:
    """Whether the shapes alone say that it is a convolution of more than one pixel; those of flat factors do not."""
    return has_core(shapes) or _is_wide(shapes)


def sizes_of_layer(shapes: Shapes) -> Sizes:
    core = next((shapes[end] for end in ("lora_mid.weight", "hada_t1", "lokr_t2") if end in shapes), ())
    kernel, turned = prod(core[2:]), bool(core and "lora_mid.weight" not in shapes)  # rank first in all factors then
    if "lora_up.weight" in shapes:
        return Sizes(_side(shapes, "lora_up.weight", 0), prod(shapes.get("lora_down.weight", ())[1:]) * kernel)
    if "hada_w1_a" in shapes:
        return Sizes(_side(shapes, "hada_w1_a", int(turned)), _side(shapes, "hada_w1_b", 1) * kernel)
    if kind_of_layer(shapes) == LOKR:
        small, large = sides_of_first(shapes), shapes.get("lokr_w2", ())
        rows = large[0] if large else _side(shapes, "lokr_w2_a", int(turned))
        columns = prod(large[1:]) if large else _side(shapes, "lokr_w2_b", 1) * kernel
        return Sizes(small[0] * rows, small[1] * columns)
    if "b1.weight" in shapes:
        return Sizes(_side(shapes, "b1.weight", 0), prod(shapes.get("b2.weight", ())[1:]))
    blocks = [shape for end, shape in shapes.items() if end.startswith("oft_blocks") and len(shape) > 2]
    if blocks:
        return Sizes(sum(shape[-1] * shape[-3] for shape in blocks), 0)
    diff = shapes.get("diff", ())
    return Sizes(diff[0], prod(diff[1:])) if diff else Sizes(0, 0)


def sides_of_first(shapes: Shapes) -> tuple[int, int]:
    """(rows, columns) of the smaller matrix of a LoKr."""
    if "lokr_w1" in shapes:
        return _side(shapes, "lokr_w1", 0), _side(shapes, "lokr_w1", 1)
    return _side(shapes, "lokr_w1_a", 0), _side(shapes, "lokr_w1_b", 1)


LARGEST_SIDE = 10_000_000


def divided(number: int, most: int) -> tuple[int, int]:
    """Two factors of a number, the smaller first: `most` is one if it divides it; else the smaller is as large as can
    be and no larger than that, or than anything if negative.  LyCORIS's rule for the sides of LoKr and OFT.
    """
    if number > LARGEST_SIDE:  # of no model's layer; looking for its factors could take for ever
        return 1, number
    if most > 0 and number % most == 0:
        small = min(most, number // most)
    else:
        small = next((one for one in range(isqrt(number), 0, -1) if number % one == 0 and (most < 0 or one <= most)), 1)
    return small, number // small


def can_continue(lora_type: LoraType) -> tuple[str, ...]:
    """The kinds that a network of this LoRA type can begin from."""
    return _OF_TYPES.get(lora_type, (LORA,))


def types_for(kind: str) -> list[LoraType]:
    """The LoRA types of the form that begin from it; the most usual ones."""
    own = [name for name in ACTING if kind in can_continue(name) and name not in OTHER_NAMES and "Dy" not in name]
    return own[:1] if kind == LORA else own[:2]


def _kind_of(end: str) -> str:
    return next((kind for begin, kind in _BEGINS.items() if end.startswith(begin)), "")


def _is_wide(shapes: Shapes) -> bool:
    return any(looks_wide(shape) for end, shape in shapes.items() if not end.startswith("oft_"))


def _side(shapes: Shapes, end: str, number: int) -> int:
    shape = shapes.get(end, ())
    return shape[number] if len(shape) > number else 0
