"""Weights in captions: (word), (word:1.3) and [word].

Source: the syntax is AUTOMATIC1111's stable-diffusion-webui's; what the weights do is sd-scripts' way of it.
"""

from __future__ import annotations

import re

UP, DOWN = 1.1, 1 / 1.1
"""What a pair of round brackets without a number multiplies by, and a pair of square ones."""

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
    r"""The caption's parts in order, each with its weight; neighbours of the same weight are one part.

    (word) is 1.1 times as strong, [word] as weak, (word:1.3) 1.3 times; brackets within brackets multiply.
    \( \) \[ \] and \\ are plain characters, and any other backslash vanishes. A bracket that is never closed reaches to
    the end of the caption; one that was never opened is plain, as is a weight that is no number, such as 1.2.3.
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
