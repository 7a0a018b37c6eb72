"""Sentences about a new word, in place of captions: which one a picture is shown with is drawn each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.data.items import Item, Subset
from engine.settings.captions import Captions

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
    sentences = [sentence.replace("{}", word) for sentence in SENTENCES[template]]
    subsets: dict[int, tuple[str, Subset]] = {}  # pictures treated alike stay those of one object
    described: list[Item] = []
    for item in items:
        if not item.is_regularisation:
            if id(item.subset) not in subsets:
                subsets[id(item.subset)] = _lines(sentences, item.subset.captions), _of_lines(item.subset)
            caption, subset = subsets[id(item.subset)]
            item = replace(item, caption=caption, subset=subset)
        described.append(item)
    return described


def _lines(sentences: Sequence[str], captions: Captions) -> str:
    """A sentence a line, each with what stands around captions."""
    around = [part if captions.enable_wildcard else part.replace("{", "{{").replace("}", "}}")
              for part in (captions.caption_prefix, captions.caption_suffix)]  # fmt: skip
    return "\n".join(" ".join(filter(None, [around[0], sentence, around[1]])) for sentence in sentences)


def _of_lines(subset: Subset) -> Subset:
    """A caption of several lines is one of them each time, whole."""
    whole = {"shuffle_caption": False, "caption_tag_dropout_rate": 0.0, "token_warmup_step": 0.0}
    told = {"enable_wildcard": True, "caption_prefix": "", "caption_suffix": ""}
    return replace(subset, captions=subset.captions.model_copy(update=whole | told))
