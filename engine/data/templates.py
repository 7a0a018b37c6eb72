"""Sentences about a new word, in place of captions: which one a picture is shown with is drawn each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.data.items import Item, Subset

OBJECT = (
    "a photo of {}", "a photo of a {}", "a photo of one {}", "a picture of {}", "a close-up of {}",
    "a clear photo of {}", "a photo of {} from the side", "a photo of {} seen from above", "a small {} in a picture",
    "a large {} in a picture", "a bright photo of {}", "a dark photo of {}", "a photo of {} in the middle",
    "a drawing of {}", "an image of my {}", "a plain picture of {}",
)  # fmt: skip
STYLE = (
    "a painting in the style of {}", "a picture in the style of {}", "a drawing in the style of {}",
    "a portrait in the style of {}", "a landscape in the style of {}", "a sketch in the style of {}",
    "a scene in the style of {}", "an illustration in the style of {}", "a detail in the style of {}",
    "a bright picture in the style of {}", "a dark picture in the style of {}", "a small picture in the style of {}",
)  # fmt: skip

SENTENCES = {"object template": OBJECT, "style template": STYLE}
"""By the option's values."""


def described_by_template(template: str, word: str, items: Sequence[Item]) -> list[Item]:
    """The items with the template's sentences about the word; regularisation pictures keep their captions."""
    sentences = "\n".join(sentence.replace("{}", word) for sentence in SENTENCES[template])
    subsets: dict[int, Subset] = {}  # pictures treated alike stay those of one object
    return [
        item
        if item.is_regularisation
        else replace(item, caption=sentences, subset=subsets.setdefault(id(item.subset), _of_lines(item.subset)))
        for item in items
    ]


def _of_lines(subset: Subset) -> Subset:
    """A caption of several lines is one of them each time."""
    captions = subset.captions.model_copy(update={"enable_wildcard": True, "shuffle_caption": False})
    return replace(subset, captions=captions)
