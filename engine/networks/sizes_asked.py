"""The sizes that the settings make of a layer where they do not follow from its rank alone; no torch."""

from __future__ import annotations

from collections.abc import Mapping

from engine.networks.dialects import Found, NetworkFile, Place
from engine.networks.signs import LOKR, OFT, divided, sides_of_first, sizes_of_layer
from engine.settings.training import TrainingSettings


def other_sides(file: NetworkFile, settings: TrainingSettings, ranks: Mapping[Place, int]) -> str:
    """The first layer whose sizes are others, beside those that the settings make; "" if there is none.

    ranks: that the settings give.
    """
    for place, rank in ranks.items():
        found, wide, which = file.modules[place], file.is_wide(place), ""
        if file.kind == OFT:
            which = _blocks(found, rank)
        elif file.kind == LOKR and not wide:  # the columns of a convolution have its kernel among them
            which = _factors(found, rank, settings)
        if which:
            return f"{place.path} has {which}"
    return ""


def _blocks(found: Found, rank: int) -> str:
    rows, side = sizes_of_layer(found.shapes).rows, found.rank
    asked = divided(rows, rank)[0] if rows else side
    return f"blocks of {side}, not {asked}" if side != asked else ""


def _factors(found: Found, rank: int, settings: TrainingSettings) -> str:
    (rows, columns), first = sizes_of_layer(found.shapes), sides_of_first(found.shapes)
    if not (rows and columns):
        return ""
    factor = settings.applied("lokr_factor")
    (a, c), (b, d) = divided(rows, factor), divided(columns, factor)
    if settings.applied("unbalanced_factorization"):
        a, c = c, a
    if first != (a, b):
        return f"a first matrix of {first[0]} × {first[1]}, not {a} × {b} (LoKr factor)"
    whole, all_whole = "lokr_w2" in found.shapes, bool(settings.applied("full_matrix"))
    if whole != (all_whole or rank >= max(c, d) / 2):
        return f"a {'whole second matrix' if whole else f'second matrix of rank {found.rank}'}, not one of rank {rank}"
    if not whole and found.rank != rank:
        return f"rank {found.rank}, not {rank}"
    both = bool(settings.applied("decompose_both")) and not all_whole
    if (both and rank < max(a, b) / 2) != ("lokr_w1_a" in found.shapes):
        return "its first matrix in another form (LoKr decompose both)"
    return ""
