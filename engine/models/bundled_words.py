"""The names of new words in the LoRA file that they came about with, as A1111, Forge and OneTrainer read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PREFIX = "bundle_emb."
OF_ONE = "string_to_param.*"
"""A word's rows where the model has one text encoder; of several these are called clip_l and clip_g."""

_ENDS = (f".{OF_ONE}", ".emb_params", ".clip_l", ".clip_g")


def bundled_words(shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The words of a file that has tensors of these names and shapes, each with how many vectors it is."""
    return {
        name[len(PREFIX) : -len(end)]: shape[0] if len(shape) > 1 else 1
        for name, shape in shapes.items()
        for end in _ENDS
        if name.startswith(PREFIX) and name.endswith(end)
    }
