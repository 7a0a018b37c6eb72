"""Which pictures show the same thing: copies, other sizes and other compressions of one.  Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.data.looks import Look

MOST_BITS = 6
"""Of 64 bits of two hashes those that may differ; pictures that have nothing in common differ in 32 on average."""

MOST_COLOUR = 8.0
"""Mean difference of the colours at 16 places, of 255.  Flat drawings have like hashes whatever their colours are."""


def duplicate_groups(looks: Sequence[Look]) -> list[int]:
    """A number for each look, the same for those that show the same thing, counted from 1; 0 for the others.

    Every picture is compared with every other one, 5,000 of them in about half a second.
    """
    known = [index for index, one in enumerate(looks) if one.colours]
    if len(known) < 2:
        return [0] * len(looks)
    hashes = np.array([looks[index].dhash for index in known], dtype=np.uint64)
    colours = np.array([list(looks[index].colours) for index in known], dtype=np.int16)
    pairs: list[tuple[int, int]] = []
    for place in range(len(known) - 1):
        near = np.flatnonzero(np.bitwise_count(hashes[place + 1 :] ^ hashes[place]) <= MOST_BITS) + place + 1
        if len(near):
            like = np.abs(colours[near] - colours[place]).mean(axis=1) <= MOST_COLOUR
            pairs += [(place, int(other)) for other in near[like]]
    return _numbered(pairs, known, len(looks))


def _numbered(pairs: list[tuple[int, int]], known: list[int], count: int) -> list[int]:
    """What hangs together by pairs, numbered in the order of its first picture."""
    first = list(range(len(known)))  # of each, an earlier one that hangs together with it; itself where there is none

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = place = first[first[place]]
        return place

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        first[high] = low
    groups = [0] * count
    numbers: dict[int, int] = {}
    for place in sorted({place for pair in pairs for place in pair}):
        groups[known[place]] = numbers.setdefault(root(place), len(numbers) + 1)
    return groups
