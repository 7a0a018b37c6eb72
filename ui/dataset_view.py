"""A training set as HTML: its totals, its pictures, tags and buckets, and the effect of a change on captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from urllib.parse import quote

from engine.data.looks import Look
from engine.data.sifting import MUCH, Captions, text_of
from engine.data.survey import ConceptCount, Seen, Survey
from engine.runs.report import shown_name
from ui.sentences import Sentences, listed

MOST_TAGS = 300
MOST_EXAMPLES = 30


def nothing_yet() -> Sentences:
    return Sentences(
        '<div class="dataset-none">Enter a folder of pictures and press Show, or drop one here, to see how many there '
        "are, what their captions say and how they are cropped. Leave it empty to use the folders from the Folders "
        "tab.</div>"
    )


def overview(survey: Survey) -> Sentences:
    """Concepts, steps, and what is left out or repaired."""
    total = sum(concept.shown for concept in survey.concepts) or 1
    rows = "".join(_concept(concept, total) for concept in survey.concepts)
    pictures = len(survey.seen)
    plan = survey.plan
    steps = (
        f"{plan.steps_per_epoch} steps per epoch. {plan.arithmetic()}."
        if plan
        else "There is nothing here to train on."
    )
    return Sentences(
        '<div class="dataset-overview">'
        f"<p><b>{pictures} picture{'s' if pictures != 1 else ''}.</b> {escape(steps)}</p>"
        '<table><thead><tr><th>Concept</th><th class="number">Pictures</th><th class="number">Repeats</th>'
        '<th class="number">Captions</th><th class="number">Shown per epoch</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{_sendable(listed([*survey.notes, *_scores(survey)]))}</div>"
    )


def _scores(survey: Survey) -> list[str]:
    scores = survey.scores()
    if not scores:
        return []
    count, pictures = len(scores), len(survey.seen)
    mean = sum(scores) / count
    return [
        f"{count} of {pictures} pictures {'has' if count == 1 else 'have'} an aesthetic score: {min(scores):.2f} to "
        f"{max(scores):.2f}, {mean:.2f} on average."
    ]


def _concept(concept: ConceptCount, total: int) -> str:
    out = f" <small>{concept.left_out} left out</small>" if concept.left_out else ""
    kind = " <small>regularisation</small>" if concept.is_regularisation else ""
    least, most = concept.repeats[0], concept.repeats[-1]
    repeats = str(least) if least == most else f"{least} to {most}"
    words = f" <small>“{_name(Path(concept.words))}”</small>" if concept.words else ""
    lacking = ' class="number lacking"' if concept.captioned < concept.pictures else ' class="number"'
    share = 100 * concept.shown / total
    return (
        f'<tr><td title="{_name(concept.folder)}">{_name(Path(concept.folder.name))}{words}{kind}</td>'
        f'<td class="number">{concept.pictures}{out}</td><td class="number">{repeats}</td>'
        f"<td{lacking}>{concept.captioned}</td>"
        f'<td class="number">{concept.shown} <small>{share:.0f} %</small></td></tr>'
    )


def grid(survey: Survey, indices: Sequence[int], looks: Mapping[Path, Look], changed: Captions, chosen: int) -> str:
    """Thumbnails with notes on each.  indices: of one page.  chosen: index of the one in the editor, or -1."""
    if not indices:
        return '<div class="dataset-none">No pictures match.</div>'
    figures = "".join(_figure(index, survey.seen[index], looks, changed, index == chosen) for index in indices)
    return f'<div class="dataset-grid">{figures}</div>'


def _figure(index: int, one: Seen, looks: Mapping[Path, Look], changed: Captions, is_chosen: bool) -> str:
    text = text_of(one, changed)
    is_changed = one.file in changed
    lacking = f"folder: {shown_name(Path(one.item.words))}" if one.text is None and one.item.words else "no caption"
    caption = escape(text or lacking)
    classes = " ".join(
        name for name, holds in (("chosen", is_chosen), ("changed", is_changed), ("lacking", not text)) if holds
    )
    facts = [f"{one.found.size[0]}×{one.found.size[1]}"] if min(one.found.size) else []
    notes = []
    if one.place:
        width, height = one.place.bucket
        facts.append(f"→ {width}×{height}")
        notes += ["enlarged"] if one.is_enlarged else []
        notes += [f"{one.cropped_away:.0%} cropped away"] if one.cropped_away > MUCH else []
    facts.append(f"× {one.item.repeats}")
    facts += [f"· score {one.score:.2f}"] if one.score is not None else []
    notes += [one.problem] if one.problem else []
    title = f"{_name(one.picture)}\n{escape(text)}"
    note = f"<em>{escape(' · '.join(notes))}</em>" if notes else ""
    return (
        f'<figure class="{classes}" data-picture="{index}" tabindex="0" role="button" title="{title}">'
        f"{_thumb(one, looks.get(one.picture))}<figcaption><b>{_name(Path(one.picture.name))}</b>"
        f"<small>{escape(' '.join(facts))}</small>{note}<span>{caption}</span></figcaption></figure>"
    )


def _thumb(one: Seen, look: Look | None) -> str:
    """The thumbnail, with what the crop removes darkened."""
    why = one.found.left_out or (look.unreadable if look else "")
    if why:
        return f'<div class="thumb out">{escape(why)}</div>'
    if look is None or look.thumbnail is None:
        return '<div class="thumb"></div>'
    width, height = one.found.size
    across = 100.0 if width >= height else 100 * width / height
    return (
        f'<div class="thumb"><span style="width:{across:.1f}%;aspect-ratio:{width}/{height}">'
        f'<img src="gradio_api/file={quote(str(look.thumbnail))}" alt="" loading="lazy">{_crop(one)}</span></div>'
    )


def _crop(one: Seen) -> str:
    """A frame around what the bucket keeps, which is the middle of the scaled picture."""
    if one.place is None:
        return ""
    sides = [
        max(0.0, 50 * (1 - kept / scaled)) for kept, scaled in zip(one.place.bucket, one.place.resized, strict=True)
    ]
    if max(sides) < 0.5:
        return ""
    return f'<i style="inset:{sides[1]:.1f}% {sides[0]:.1f}%"></i>'


def tags(counted: Sequence[tuple[str, int]], chosen: str = "") -> str:
    """Tags with bars; a click on one filters by it."""
    if not counted:
        return '<div class="dataset-none">No captions, no tags.</div>'
    most = counted[0][1]
    rows = "".join(
        f'<button data-tag="{escape(tag, quote=True)}"{_pressed(tag, chosen)}>'
        f'<i style="width:{100 * count / most:.1f}%"></i><span>{escape(tag)}</span><b>{count}</b></button>'
        for tag, count in counted[:MOST_TAGS]
    )
    more = f"<p>and {len(counted) - MOST_TAGS} rarer ones</p>" if len(counted) > MOST_TAGS else ""
    return f'<div class="dataset-tags">{rows}{more}</div>'


def _pressed(tag: str, chosen: str) -> str:
    return ' class="chosen"' if tag.casefold() == chosen.casefold() else ""


def buckets(survey: Survey) -> Sentences:
    """Pictures per bucket as bars, and the effect of buckets on the pictures."""
    counted = survey.buckets()
    placed = [one for one in survey.seen if one.place]
    if not placed:
        return Sentences("")
    most = max(pictures for _, pictures, _ in counted)
    rows = "".join(
        f'<tr><th>{width}×{height}</th><td class="shape">{_shape(width, height)}</td><td class="bars">'
        f'<i style="width:{100 * pictures / most:.1f}%"></i></td>'
        f'<td class="number">{pictures}</td><td class="number">{shown}</td></tr>'
        for (width, height), pictures, shown in counted
    )
    enlarged = sum(one.is_enlarged for one in placed)
    cropped = [one.cropped_away for one in placed]
    much = sum(share > MUCH for share in cropped)
    single = sum(1 for _, _, shown in counted if shown == 1)
    facts = [
        f"{enlarged} of {len(placed)} pictures are enlarged, which makes them soft." if enlarged else
        "No picture is enlarged.",
        f"Cropping removes {sum(cropped) / len(cropped):.1%} of a picture on average and {max(cropped):.1%} at most; "
        f"{much} lose more than {MUCH:.0%}.",
    ]  # fmt: skip
    if left_out := len(survey.seen) - len(placed):
        facts.append(f"{left_out} of {len(survey.seen)} pictures are left out; see Overview for the reasons.")
    if single:
        facts.append(
            f"{single} of {len(counted)} buckets have only one picture per epoch, so their batches are not full."
        )
    read = placed[0].item.subset.pictures
    if read.face_crop_aug_range and not read.enable_bucket:
        facts.append(
            "Face crop range is set: pictures whose file name marks a face are cropped around it, not as shown here."
        )
    elif read.random_crop:
        facts.append("Random crop is on: the crop has the size shown here, but a random position.")
    return Sentences(
        f'<div class="dataset-buckets">{listed(facts)}<table><thead><tr><th>Bucket</th><th></th><th></th>'
        '<th class="number">Pictures</th><th class="number">Shown per epoch</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _shape(width: int, height: int) -> str:
    across, down = (round(22 * side / max(width, height)) for side in (width, height))
    return f'<i style="width:{across}px;height:{down}px"></i>'


def preview(changes: Sequence[tuple[Seen, str, str]], looked_at: int) -> Sentences:
    """The effect of a change: (picture, caption before, and after), and how many pictures were looked at."""
    head = f"<p><b>{len(changes)} of {looked_at} captions would change.</b></p>"
    rows = "".join(
        f"<li><b>{_name(Path(one.picture.name))}</b> {_difference(before, after)}</li>"
        for one, before, after in changes[:MOST_EXAMPLES]
    )
    more = f"<p>and {len(changes) - MOST_EXAMPLES} more</p>" if len(changes) > MOST_EXAMPLES else ""
    return Sentences(f'<div class="dataset-preview">{head}<ul>{rows}</ul>{more}</div>')


def _difference(before: str, after: str) -> str:
    """Both texts in one, word by word: what is removed and what is added."""
    old, new = (re.findall(r"\s+|[^\s,]+|,", text) for text in (before, after))
    parts = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = "".join(old[a:b]), "".join(new[c:d])
        if kind == "equal":
            parts.append(escape(gone))
            continue
        parts += [f"<del>{escape(gone)}</del>"] if gone else []
        parts += [f"<ins>{escape(come)}</ins>"] if come else []
    return "".join(parts)


def _name(path: Path) -> str:
    """A path, or part of one, as escaped text."""
    return escape(shown_name(path))


def _sendable(html: str) -> str:
    """Without surrogates, which stand for bytes in names that are not UTF-8."""
    return html.encode("utf-8", "replace").decode()
