"""WD14 tagger: danbooru tags for pictures, by SmilingWolf's models as ONNX files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.tools.caption_files import CaptionWriter
from engine.tools.captioning import CaptionerSettings, caption_folder
from engine.tools.folder_work import Captioner, Outcome, counted
from engine.tools.pictures import upright
from engine.tools.taggers import Category, Tag, load_tagger, prepared

PUBLISHED = tuple(
    f"SmilingWolf/{name}"
    for name in (
        "wd-v1-4-convnext-tagger-v2", "wd-v1-4-convnextv2-tagger-v2", "wd-v1-4-moat-tagger-v2",
        "wd-v1-4-swinv2-tagger-v2", "wd-v1-4-vit-tagger-v2", "wd-convnext-tagger-v3", "wd-swinv2-tagger-v3",
        "wd-vit-tagger-v3", "wd-vit-large-tagger-v3", "wd-eva02-large-tagger-v3",
    )
)  # fmt: skip

OTHERS: tuple[Category, ...] = ("copyright", "artist", "meta", "model")
"""What cl_tagger knows beside."""

TAGGER, TAGS, RATING = "Tagger", "Tags", "Rating"


class Tagging(Group):
    repo_id: str = option(
        "SmilingWolf/wd-swinv2-tagger-v3",
        label="Repo ID",
        section=TAGGER,
        help="The tagger: a Hugging Face model name, or a folder with model.onnx and selected_tags.csv. For "
        "cl_tagger, add its folder within the repository after the name.",
        widget="path",
        suggestions=(*PUBLISHED, "cella110n/cl_tagger/cl_tagger_1_02"),
        must_be="given",
    )
    batch_size: int = option(
        1, ge=1, le=256, label="Batch size", section=TAGGER, help="How many pictures to process at once."
    )
    general_threshold: float = option(
        0.35,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="General threshold",
        section=TAGS,
        help="How confident the tagger must be in a tag. Lower values give more tags, and more wrong ones.",
    )
    character_threshold: float = option(
        0.35,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Character threshold",
        section=TAGS,
        help="The same for character names; at 0.85 hardly any are wrong.",
    )
    other_threshold: float = option(
        0.35,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Threshold of other tags",
        section=TAGS,
        help="The same for artist, copyright, meta and model tags, which cl_tagger has.",
        also=("copyright_threshold", "artist_threshold", "meta_threshold", "model_threshold"),
    )
    undesired_tags: str = option(
        "",
        label="Undesired tags",
        section=TAGS,
        help="Tags to leave out, divided by the caption separator, with or without underscores.",
    )
    always_first_tags: str = option(
        "",
        label="Tags that always come first",
        section=TAGS,
        help="Tags that go to the front when they are found, in this order, such as 1girl, 1boy.",
    )
    tag_replacement: str = option(
        "",
        label="Tag replacement",
        section=TAGS,
        help=r"old,new;old,new. Write \, and \; for a comma and a semicolon within a tag.",
    )
    remove_underscore: bool = option(
        True,
        label="Remove underscore",
        section=TAGS,
        help="Replace underscores with spaces, except in emoticons such as ^_^.",
    )
    character_tag_expand: bool = option(
        False,
        label="Character tag expand",
        section=TAGS,
        help="Split name_(series) into two tags: name, series.",
    )
    character_tags_first: bool = option(
        False, label="Character tags first", section=TAGS, help="Put character names before all other tags."
    )
    caption_separator: str = option(
        ", ", label="Caption separator", section=TAGS, help="What separates two tags.", must_be="given"
    )
    append_tags: bool = option(
        False,
        label="Append TAGs",
        section=TAGS,
        help="Add missing tags to existing captions, without prefix and postfix.",
    )
    use_rating_tags: bool = option(
        False, label="Use rating tags", section=RATING, help="Put the most likely rating, such as sensitive, first."
    )
    use_rating_tags_as_last_tag: bool = option(
        False, label="Use rating tags as last tag", section=RATING, help="Put the most likely rating last."
    )
    use_quality_tags: bool = option(
        False,
        label="Use quality tags",
        section=RATING,
        help="Put the most likely quality tag first, if the tagger has one.",
    )
    frequency_tags: bool = option(
        True, label="Show tags frequency", section=RATING, help="At the end, show how many pictures have each tag."
    )


class Settings(CaptionerSettings):
    tagging: Tagging = Field(default_factory=Tagging)

    def failures(self) -> Iterator[Failure]:
        try:
            replacements_in(self.tagging.tag_replacement)
        except Failure as failure:
            yield failure
        yield from super().failures()


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Tag the pictures of a folder."""
    tagging = settings.tagging
    earlier = CaptionWriter(run).said()  # by an engine of this run that was ended
    seen = 0
    counts = Counter(tag for said in earlier for tag in _split(said, tagging))

    def load() -> Captioner:
        report.stage("loading", detail=tagging.repo_id)
        tagger = load_tagger(tagging.repo_id)

        def describe(pictures: Sequence[np.ndarray]) -> list[str]:
            nonlocal seen
            captions = []
            for probabilities in tagger.probabilities(pictures):
                found = chosen_tags(tagger.tags, probabilities, tagging, tagger.by_likelihood)
                counts.update(found)
                seen += 1
                captions.append(tagging.caption_separator.join(found))
            return captions

        return Captioner(describe, tagging.batch_size, lambda file: prepared(upright(file), tagger.size))

    def appended(before: str | None, found: str) -> str:
        if before is None:
            return settings.text.around(found)
        had = _split(before, tagging)
        known = {_plain(tag) for tag in had}
        lacking = [tag for tag in _split(found, tagging) if _plain(tag) not in known]
        return tagging.caption_separator.join([*had, *lacking])

    outcome = caption_folder(
        settings, run, report, load, appended if tagging.append_tags else None, tagging.append_tags
    )
    if tagging.frequency_tags and counts:
        lines = [f"{tag}: {count}" for tag, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
        report.result(f"Tags of {counted(len(earlier) + seen, 'picture')}:", lines)
    return outcome


def chosen_tags(
    tags: Sequence[Tag],
    probabilities: Sequence[float] | np.ndarray,
    tagging: Tagging,
    by_likelihood: bool = False,
) -> list[str]:
    """The tags of one picture as they are written, in order.

    probabilities: one for each tag.  by_likelihood: the likelier ones come first.
    Order as sd-scripts has it: else the list's own, general tags first; then the rating.
    A tag is written once, and undesired tags are known by their danbooru name and by what they are written as.
    """
    replacements = replacements_in(tagging.tag_replacement)
    undesired = {_plain(tag) for tag in _split(tagging.undesired_tags, tagging)}
    thresholds = {
        "general": tagging.general_threshold,
        "character": tagging.character_threshold,
        **dict.fromkeys(OTHERS, tagging.other_threshold),
    }

    def written(tag: Tag) -> list[str]:
        names = [tag.name]
        if tag.category == "character" and tagging.character_tag_expand:
            names = expanded(tag.name)
        if tagging.remove_underscore:
            names = [without_underscores(name) for name in names]
        names = [replacements.get(name, name) for name in names]
        return [] if _plain(tag.name) in undesired else [n for n in names if n and _plain(n) not in undesired]

    def of(*categories: Category) -> list[str]:
        sure = [
            (tag, probability)
            for category in categories
            for tag, probability in zip(tags, probabilities, strict=True)
            if tag.category == category and probability >= thresholds[category]
        ]
        if by_likelihood:
            sure.sort(key=lambda pair: -pair[1])
        return [name for tag, _ in sure for name in written(tag)]

    if tagging.character_tags_first:
        found = [*of("character"), *of("general", *OTHERS)]
    else:
        found = of("general", "character", *OTHERS)
    quality = [name for tag in _likeliest("quality", tags, probabilities) for name in written(tag)]
    if tagging.use_quality_tags:
        found = [*quality, *found]
    rating = [name for tag in _likeliest("rating", tags, probabilities) for name in written(tag)]
    if tagging.use_rating_tags_as_last_tag:
        found = [*found, *rating]
    elif tagging.use_rating_tags:
        found = [*rating, *found]
    found = list(dict.fromkeys(found))
    order = [_plain(tag) for tag in _split(tagging.always_first_tags, tagging)]
    return sorted(found, key=lambda tag: order.index(_plain(tag)) if _plain(tag) in order else len(order))


def _likeliest(category: Category, tags: Sequence[Tag], probabilities: Sequence[float] | np.ndarray) -> list[Tag]:
    """The likeliest tag of a category; none where there is no such category."""
    of_it: list[tuple[Any, Tag]] = [
        (probability, tag) for tag, probability in zip(tags, probabilities, strict=True) if tag.category == category
    ]
    return [max(of_it, key=lambda pair: pair[0])[1]] if of_it else []


def without_underscores(name: str) -> str:
    """Blanks for underscores, except in emoticons: what has no two letters or digits in a row, such as (o)_(o)."""
    is_emoticon = len(name) <= 3 or not re.search(r"[^\W_]{2}", name)
    return name if is_emoticon else name.replace("_", " ")


def expanded(name: str) -> list[str]:
    """name_(series) → name, series; name_(costume)_(series) → name_(costume), series; others stay as they are."""
    parts = re.fullmatch(r"(.+?)_?\(([^()]+)\)", name)
    return [parts[1], parts[2]] if parts else [name]


def replacements_in(text: str) -> dict[str, str]:
    r"""old,new;old,new as a table, with \, and \; for these signs within a tag.  Raises Failure."""
    table: dict[str, str] = {}
    for pair in re.split(r"(?<!\\);", text):
        if not pair.strip():
            continue
        names = [name.replace("\\,", ",").replace("\\;", ";").strip() for name in re.split(r"(?<!\\),", pair)]
        if len(names) != 2 or not names[0]:
            raise Failure(
                f'Tag replacement contains "{pair.strip()}", which is not a tag, a comma and another tag.',
                r"Enter old,new;old,new, with \, for a comma within a tag.",
                "tag_replacement",
            )
        table[names[0]] = names[1]
    return table


def _split(text: str, tagging: Tagging) -> list[str]:
    """Tags between separators, without blanks around them."""
    return [tag.strip() for tag in text.split(tagging.caption_separator.strip()) if tag.strip()]


def _plain(tag: str) -> str:
    """A tag as it is compared: people write it with underscores or with blanks, and with capitals."""
    return tag.replace("_", " ").casefold()
