"""The blocks of a model, and the comma lists that give each a rank or a learning rate of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sin
from typing import NamedTuple

from engine.settings.families import TITLES, FamilyName


class Block(NamedTuple):
    """section: such as down.  number: within it, from 0."""

    section: str
    number: int


Sections = Mapping[str, int]
"""How many blocks each section has, in the order of the lists."""

_STREAMS: Sections = {"double": 19, "single": 38}
SECTIONS: Mapping[FamilyName, tuple[Sections, ...]] = {
    "sd1": ({"down": 12, "mid": 1, "up": 12},),
    "sd2": ({"down": 12, "mid": 1, "up": 12},),
    "sdxl": ({"base": 1, "down": 9, "mid": 3, "up": 9, "out": 1},),
    "sd3": ({"joint": 24}, {"joint": 38}),  # 3 and 3.5 medium; 3.5 large
    "flux": (_STREAMS,),
    "chroma": (_STREAMS,),
    "lumina": ({"context refiner": 2, "noise refiner": 2, "layers": 26},),
}
"""By family; several where its models are of several sizes.  Those of UNets are sd-scripts', in its order."""

OF_RATES = ("down", "mid", "up")
"""The sections that have learning rate weights of their own, as UNets have them."""

_UNET = re.compile(r"(down|up)_blocks_(\d+)_(?:(?:resnets|attentions)_(\d+)|(?:down|up)samplers_0)_")
_OF_NAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), section)
    for pattern, section in (
        (r"input_blocks_(\d+)_", "down"),
        (r"middle_block_(\d+)_", "mid"),
        (r"output_blocks_(\d+)_", "up"),
        (r"time_embed_|label_emb_", "base"),
        (r"out_\d", "out"),
        (r"double_blocks_(\d+)_", "double"),
        (r"single_blocks_(\d+)_", "single"),
        (r"joint_blocks_(\d+)_", "joint"),
        (r"context_refiner_(\d+)_", "context refiner"),
        (r"noise_refiner_(\d+)_", "noise refiner"),
        (r"layers_(\d+)_", "layers"),
    )
)


def block_of(name: str) -> Block | None:
    """The block of a module of the denoiser, by its name in kohya's files; None if it belongs to none."""
    path = name.removeprefix("lora_unet_")
    if found := _UNET.match(path):
        section, outer, inner = found.groups()
        # As sd-scripts counts: three to a level, the last of them changes the size; before them stands the first layer.
        return Block(section, 3 * int(outer) + (2 if inner is None else int(inner)) + (section == "down"))
    if path.startswith("mid_block_"):
        return Block("mid", 0)
    if path.startswith("conv_in"):
        return Block("down", 0)
    for pattern, section in _OF_NAMES:
        if found := pattern.match(path):
            return Block(section, int(found[1]) if found.re.groups else 0)
    return None


def blocks_of(sections: Sections) -> list[Block]:
    """In the order of the lists."""
    return [Block(section, number) for section, count in sections.items() for number in range(count)]


def by_block(label: str, text: str, family: FamilyName, *, whole: bool = False) -> dict[Block, float]:
    """A list with a number for each block of the model.  Raises ValueError, a sentence, if it is another list.

    whole: whether the numbers are ranks.
    """
    numbers = _numbers(label, text, whole=whole)
    several = SECTIONS.get(family, ())
    if not several:
        raise ValueError(f"{label} cannot be used with {TITLES[family]}, whose blocks have no numbers. Clear it.")
    for sections in several:
        if len(blocks := blocks_of(sections)) == len(numbers):
            return dict(zip(blocks, numbers, strict=True))
    told = " or ".join(f"{sum(sections.values())} ({_told(sections)})" for sections in several)
    raise ValueError(
        f"{label} has {len(numbers)} number{'s' * (len(numbers) != 1)}, but {TITLES[family]} has {told} blocks. "
        "Give one number for each, separated by commas, or clear it."
    )


@dataclass(frozen=True)
class Weights:
    """Learning rate weights of one section.  notes: what was done to the list to make it fit."""

    factors: dict[Block, float]
    notes: tuple[str, ...] = ()


def weights_of(label: str, text: str, section: str, family: FamilyName) -> Weights:
    """Factors of the learning rate for the blocks of a section: numbers, or a curve such as cosine+.25.

    As in sd-scripts, a longer list is cut and a shorter one is filled with 1.  Raises ValueError, a sentence.
    """
    count = next((sections[section] for sections in SECTIONS.get(family, ()) if section in sections), 0)
    if not count:
        raise ValueError(f"{label} cannot be used with {TITLES[family]}, which is no UNet. Clear it.")
    curve, _, base = text.replace(" ", "").partition("+")
    if curve in CURVES and section != "mid":
        added = _numbers(label, base)[0] if base else 0.0
        return Weights({Block(section, n): CURVES[curve](n / (count - 1)) + added for n in range(count)})
    if curve.isidentifier():
        raise ValueError(
            f'{label} is "{text}", which is no list of numbers and none of {", ".join(CURVES)}. Choose one of these, '
            "with +NUMBER if you like, or give a list."
        )
    numbers = _numbers(label, text, empty=0.0)
    notes = []
    if len(numbers) != count:
        what = "the rest is ignored" if len(numbers) > count else "the others keep the full learning rate"
        notes = [f"{label} has {len(numbers)} numbers for the {count} {section} blocks of {TITLES[family]}: {what}."]
    numbers = [*numbers, *[1.0] * count][:count]
    return Weights({Block(section, n): number for n, number in enumerate(numbers)}, tuple(notes))


CURVES = {
    "cosine": lambda share: sin(pi / 2 * (1 - share)),
    "sine": lambda share: sin(pi / 2 * share),
    "linear": lambda share: share,
    "reverse_linear": lambda share: 1 - share,
    "zeros": lambda share: 0.0,
}
"""sd-scripts' curves: the factor by how far a block is from the first of its section, 0, to the last, 1."""


def chosen(label: str, text: str, count: int) -> frozenset[int]:
    """Which of so many blocks are chosen: all, none, or numbers and ranges such as 0,1,5-8.  Raises ValueError."""
    if (word := text.strip().lower()) in ("all", "none", ""):
        return frozenset(range(count) if word == "all" else ())
    numbers: set[int] = set()
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdecimal() for end in ends):
            raise ValueError(f'{label} has "{part.strip()}". Give all, none, or numbers such as 0,1,5-8.')
        first, last = int(ends[0]), int(ends[-1])
        if first > last or last >= count:
            raise ValueError(f'{label} has "{part.strip()}", but the blocks are numbered from 0 to {count - 1}.')
        numbers |= set(range(first, last + 1))
    return frozenset(numbers)


def _numbers(label: str, text: str, *, whole: bool = False, empty: float | None = None) -> list[float]:
    """empty: what stands for a number that is left out; None if that is an error."""
    text = text.strip().removeprefix("[").removesuffix("]")
    numbers = []
    for part in text.split(","):
        try:
            number = empty if not part.strip() and empty is not None else float(part)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf") or (whole and number != int(number)):
            kind = "whole numbers" if whole else "numbers"
            raise ValueError(f'{label} has "{part.strip()}" in its list; {kind} of 0 or more are expected.')
        numbers.append(number)
    return numbers


def _told(sections: Sections) -> str:
    return ", ".join(f"{count} {section}" for section, count in sections.items())
