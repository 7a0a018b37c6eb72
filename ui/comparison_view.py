"""Two captioners' captions side by side, as HTML.  Pure functions of a run's events."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from engine.runs.events import Captioned
from engine.runs.folder import RunFolder


def comparison(run: RunFolder, captioned: Sequence[Captioned]) -> str:
    """One row per picture, one column per captioner; a button above each goes to its tab."""
    by_file: dict[str, dict[int, Captioned]] = {}
    for event in captioned:
        by_file.setdefault(f"{event.preview} {event.file}", {})[event.place] = event
    names = {event.place: event.captioner for event in captioned}
    heads = "".join(
        f'<th>{escape(name)}<button data-use="{place}">Use this one</button></th>'
        for place, name in sorted(names.items())
    )
    rows = "".join(_row(run, said, sorted(names)) for said in by_file.values())
    return f'<div class="comparison"><table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(run: RunFolder, said: dict[int, Captioned], places: list[int]) -> str:
    one = next(iter(said.values()))
    picture = ""
    if one.preview:
        url = f"gradio_api/file={quote(str(run.previews_folder / one.preview))}"
        picture = f'<a href="{url}" target="_blank"><img src="{url}" alt=""></a>'
    cells = "".join(f"<td>{escape(said[place].caption) if place in said else '…'}</td>" for place in places)
    return f"<tr><th>{picture}<small>{escape(one.file)}</small></th>{cells}</tr>"
