"""Weights in captions: (word), (word:1.3) and [word].

Source: the syntax is from AUTOMATIC1111's stable-diffusion-webui; the effect of the weights follows sd-scripts.
"""

from __future__ import annotations

import re

UP, DOWN = 1.1, 1 / 1.1
"""The factors of round brackets without a number, and of square ones."""

_PIECES = re.compile(
    r"""
    \\[()\[\]\\]                                  # a plain bracket or backslash
    | \\                                          # any other backslash
    | :(?P<weight>[+-]?[.\d]+)\)                  # the end of (word:1.3)
    | [()\[\]]
    | [^\\()\[\]:]+
    | :
    """,
    re.VERBOSE,
)


def weighted_parts(caption: str) -> list[tuple[str, float]]:
    r"""The caption's parts in order, each with its weight; neighbours with the same weight are merged.

    (word) multiplies by 1.1, [word] divides by it, (word:1.3) multiplies by 1.3; nested brackets multiply.
    \( \) \[ \] and \\ are plain characters, and any other backslash is dropped. A bracket that is never closed extends
    to the end of the caption; one that was never opened is plain, as is a weight that is not a number, such as 1.2.3.
    """
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(kind: str, factor: float) -> None:
        begin = opened[kind].pop()
        weights[begin:] = [weight * factor for weight in weights[begin:]]

    for piece in _PIECES.finditer(caption):
        text = piece[0]
        factor = _number(piece["weight"])
        if text in opened:
            opened[text].append(len(texts))
        elif factor is not None and opened["("]:
            close("(", factor)
        elif text == ")" and opened["("]:
            close("(", UP)
        elif text == "]" and opened["["]:
            close("[", DOWN)
        else:
            texts.append(text.removeprefix("\\"))
            weights.append(1.0)
    for kind, factor in (("(", UP), ("[", DOWN)):
        while opened[kind]:
            close(kind, factor)
    return _joined(texts, weights)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _joined(texts: list[str], weights: list[float]) -> list[tuple[str, float]]:
    parts: list[tuple[str, float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if parts and parts[-1][1] == weight:
            parts[-1] = (parts[-1][0] + text, weight)
        else:
            parts.append((text, weight))
    return parts
