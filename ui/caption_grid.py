"""The pictures around the one being captioned, as HTML: a page at a time, so that thousands do not slow it down."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from engine.data.looks import Look, looks_of
from engine.runs.report import shown_name
from engine.tools import manual
from ui.sentences import Sentences

AT_ONCE = 24
"""Pictures shown at a time; of the others only the number is shown."""


def grid(pictures: Sequence[str], extension: str, place: int) -> Sentences:
    """The pictures around the one at `place`, with their captions; a click goes to one, or to the next page."""
    first = place - place % AT_ONCE
    shown = [Path(picture) for picture in pictures[first : first + AT_ONCE]]
    figures = "".join(
        _figure(first + number, picture, manual.caption_of(picture, extension), look, first + number == place)
        for number, (picture, look) in enumerate(looks_of(shown))
    )
    html = f'<div class="dataset-grid">{figures}</div>{_pager(first, len(shown), len(pictures))}'
    return Sentences(html.encode("utf-8", "replace").decode())  # names may contain bytes that are not UTF-8


def _figure(number: int, picture: Path, caption: str, look: Look, is_chosen: bool) -> str:
    classes = " ".join(name for name, holds in (("chosen", is_chosen), ("lacking", not caption)) if holds)
    name = escape(shown_name(Path(picture.name)))
    thumb = (
        f'<div class="thumb"><img src="gradio_api/file={quote(str(look.thumbnail))}" alt="" loading="lazy" '
        'style="object-fit:contain"></div>'
        if look.thumbnail
        else f'<div class="thumb out">{escape(look.unreadable)}</div>'
    )
    return (
        f'<figure class="{classes}" data-picture="{number}" tabindex="0" role="button" title="{escape(caption)}">'
        f"{thumb}<figcaption><b>{name}</b><span>{escape(caption) or 'no caption'}</span></figcaption></figure>"
    )


def _pager(first: int, count: int, total: int) -> str:
    if total <= AT_ONCE:
        return ""
    before = _way(max(0, first - AT_ONCE), "Earlier", first > 0)
    after = _way(first + AT_ONCE, "Later", first + count < total)
    return f'<p class="caption-pager">{before}<span>{first + 1} to {first + count} of {total}</span>{after}</p>'


def _way(number: int, words: str, is_there: bool) -> str:
    return f'<button data-picture="{number}"{"" if is_there else " disabled"}>{words}</button>'
