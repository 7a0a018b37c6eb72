"""Which pictures show the same thing: copies, and other sizes or compressions of the same picture.  Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.data.looks import Look

MOST_BITS = 6
"""How many of the 64 bits of two hashes may differ; unrelated pictures differ in 32 on average."""

MOST_COLOUR = 8.0
"""Mean difference of the colours at 16 places, of 255.  Flat drawings have similar hashes whatever their colours."""


def duplicate_groups(looks: Sequence[Look]) -> list[int]:
    """A group number for each look, counted from 1, the same for those that show the same thing; 0 for the others.

    Every picture is compared with every other one, 5,000 of them in less than a second.
    """
    known = [index for index, one in enumerate(looks) if one.colours]
    if len(known) < 2:
        return [0] * len(looks)
    hashes = np.array([looks[index].dhash for index in known], dtype=np.uint64)
    colours = np.array([list(looks[index].colours) for index in known], dtype=np.int16)
    labels = np.arange(len(known))  # for each, the first that it is connected to
    for place in range(len(known) - 1):
        near = np.flatnonzero(np.bitwise_count(hashes[place + 1 :] ^ hashes[place]) <= MOST_BITS) + place + 1
        near = near[labels[near] != labels[place]]
        if len(near):
            like = np.abs(colours[near] - colours[place]).mean(axis=1) <= MOST_COLOUR
            joined = np.unique(labels[[place, *near[like]]])
            labels[np.isin(labels, joined)] = joined[0]
    groups = [0] * len(looks)
    numbers: dict[int, int] = {}
    members = np.bincount(labels)
    for index, label in zip(known, labels.tolist(), strict=True):
        if members[label] > 1:
            groups[index] = numbers.setdefault(label, len(numbers) + 1)
    return groups
