"""The loss chart as an SVG: raw values faint, the smoothed line strong, with the validation loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from engine.runs.curve import Curve

WIDTH, HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 24

Point = tuple[float, float]


def loss_chart(losses: Curve, total: int, validated: Curve) -> str:
    """The chart over steps 0 … total; an empty frame before the first step.  A legend if there are two curves."""
    raw: list[Point] = [(point.step, point.raw.value) for point in losses.points if point.raw.count]
    smooth: list[Point] = [(point.step, point.smoothed.value) for point in losses.points if point.smoothed.count]
    held_out: list[Point] = [(point.step, point.raw.value) for point in validated.points if point.raw.count]
    low, high = _range([y for _, y in raw], [y for _, y in held_out])
    right = max(total, 1)

    def place(points: Sequence[Point]) -> str:
        return " ".join(
            f"{_LEFT + x / right * (WIDTH - _LEFT - _RIGHT):.1f},"
            f"{_TOP + (high - min(max(y, low), high)) / (high - low) * (HEIGHT - _TOP - _BOTTOM):.1f}"
            for x, y in points
        )

    ticks = "".join(_tick(low + (high - low) * part / 4, part) for part in range(5)) if raw or held_out else ""
    return (
        f'<svg class="loss-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Loss by step">'
        f"{ticks}"
        f'<polyline class="raw" data-points="{len(raw)}" points="{place(raw)}"/>'
        f'<polyline class="smooth" data-points="{len(smooth)}" points="{place(smooth)}"/>'
        f"{_marked(held_out, place) if held_out else ''}"
        f'<text x="{_LEFT}" y="{HEIGHT - 6}">0</text>'
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(f"step {right}")}</text>'
        "</svg>"
    )


def _marked(points: list[Point], place: Callable[[Sequence[Point]], str]) -> str:
    """The validation curve: few points, so each is marked with its value; and the legend."""
    dots = "".join(
        f'<circle cx="{at.partition(",")[0]}" cy="{at.partition(",")[2]}" r="3">'
        f"<title>validation loss {loss:.4f} after step {step:.0f}</title></circle>"
        for (step, loss), at in zip(points, place(points).split(" "), strict=True)
    )
    return (
        f'<g class="validation"><polyline data-points="{len(points)}" points="{place(points)}"/>{dots}</g>{_legend()}'
    )


def _legend() -> str:
    """In the corner that a falling loss leaves free."""
    entries = ((200, "smooth", "loss"), (140, "validation", "validation loss"))
    return "".join(
        f'<g class="{kind}"><line x1="{WIDTH - x}" x2="{WIDTH - x + 18}" y1="{_TOP + 6}" y2="{_TOP + 6}"/>'
        f'<text x="{WIDTH - x + 24}" y="{_TOP + 10}">{words}</text></g>'
        for x, kind, words in entries
    )


def _range(values: list[float], always: list[float]) -> tuple[float, float]:
    """Lowest and highest value to show: a few outliers must not flatten all the rest.  always: shown whole."""
    if not values and not always:
        return 0.0, 1.0
    ordered = sorted(values)
    usual = ordered[: math.ceil(len(ordered) * 0.99) + 1]
    low, high = min([*usual[:1], *always]), max([*usual[-1:], *always])
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _tick(value: float, part: int) -> str:
    y = HEIGHT - _BOTTOM - part / 4 * (HEIGHT - _TOP - _BOTTOM)
    return (
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )
