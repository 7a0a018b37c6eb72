"""A run's sample pictures, as HTML: the newest of each prompt large, the earlier ones in a strip through time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from engine.runs.events import Sample
from engine.runs.folder import RunFolder

MOST_COLUMNS = 10
"""Columns of the strip; others are left out evenly."""


def gallery(run: RunFolder, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    newest = {sample.prompt_index: sample for sample in sorted(samples, key=lambda one: one.step)}
    large = "".join(_large(run, newest[index]) for index in sorted(newest))
    earlier = [sample for sample in samples if sample.step < newest[sample.prompt_index].step]
    return f'<div class="samples"><div class="newest">{large}</div>{_strip(run, earlier)}</div>'


def _large(run: RunFolder, sample: Sample) -> str:
    words = f"<b>{_when(sample.step)}</b> {escape(sample.prompt)}"
    return f"<figure>{_picture(run, sample)}<figcaption>{words}</figcaption></figure>"


def _strip(run: RunFolder, samples: Sequence[Sample]) -> str:
    """One row per prompt, one column per step, newest first: so that you see the concept being learned."""
    if not samples:
        return ""
    steps = _spread(sorted({sample.step for sample in samples}, reverse=True))
    by_place = {(sample.prompt_index, sample.step): sample for sample in samples}
    heads = "".join(f"<th>{_when(step)}</th>" for step in steps)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_picture(run, by_place.get((index, step)))}</td>" for step in steps) + "</tr>"
        for index in sorted({sample.prompt_index for sample in samples})
    )
    return f'<div class="strip"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _picture(run: RunFolder, sample: Sample | None) -> str:
    if sample is None:
        return ""
    title = escape(f"{sample.prompt} (step {sample.step}, seed {sample.seed})", quote=True)
    url = f"gradio_api/file={quote(str(run.previews_folder / sample.preview))}"
    return f'<a class="large-on-click" href="{url}" target="_blank"><img src="{url}" alt="{title}" title="{title}"></a>'


def _when(step: int) -> str:
    return "before" if step == 0 else f"step {step}"


def _spread(steps: list[int]) -> list[int]:
    """At most MOST_COLUMNS steps, evenly spread, including the first and the last."""
    if len(steps) <= MOST_COLUMNS:
        return steps
    last = len(steps) - 1
    chosen: Iterable[int] = (round(i * last / (MOST_COLUMNS - 1)) for i in range(MOST_COLUMNS))
    return [steps[i] for i in chosen]
