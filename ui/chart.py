"""The loss chart as an SVG: raw values faint, the smoothed line strong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from engine.runs.events import Step

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 24
MOST_POINTS = 320

Point = tuple[float, float]


def loss_chart(steps: Sequence[Step], total: int) -> str:
    """The chart over steps 0 … total; an empty frame before the first step."""
    raw = thinned([(s.step, s.loss) for s in steps if s.loss is not None])
    smooth = thinned([(s.step, s.smoothed_loss) for s in steps])
    low, high = _range([y for _, y in raw])
    right = max(total, 1)

    def place(points: Sequence[Point]) -> str:
        return " ".join(
            f"{_LEFT + x / right * (WIDTH - _LEFT - _RIGHT):.1f},"
            f"{_TOP + (high - min(max(y, low), high)) / (high - low) * (HEIGHT - _TOP - _BOTTOM):.1f}"
            for x, y in points
        )

    ticks = "".join(_tick(low + (high - low) * part / 4, part) for part in range(5)) if raw else ""
    return (
        f'<svg class="loss-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Loss by step">'
        f"{ticks}"
        f'<polyline class="raw" data-points="{len(raw)}" points="{place(raw)}"/>'
        f'<polyline class="smooth" data-points="{len(smooth)}" points="{place(smooth)}"/>'
        f'<text x="{_LEFT}" y="{HEIGHT - 6}">0</text>'
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(f"step {right}")}</text>'
        "</svg>"
    )


def thinned(points: list[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points: each the mean of a run of neighbours, so that no step is passed over."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / most)
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [(run[-1][0], sum(y for _, y in run) / len(run)) for run in runs]


def _range(values: list[float]) -> tuple[float, float]:
    """Lowest and highest value to show: a few outliers must not flatten all the rest."""
    if not values:
        return 0.0, 1.0
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.99))]
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _tick(value: float, part: int) -> str:
    y = HEIGHT - _BOTTOM - part / 4 * (HEIGHT - _TOP - _BOTTOM)
    return (
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )
